"""Bot and paper exchange in one process, on a clock that leaps from tick to tick."""
