# perpctl for bash: made from the command tree by `pytest --update`; not to be edited.
_perpctl_after() {
    case "$1" in
        '') echo 'kill cancel-all reduce-only disable resume status whoami positions orders fills stops account margin calendar market funding health preflight probe run wait verify reconcile state config auth ws paper completion enable --help --version' ;;
        'kill') echo '--profile -p --venue --force --yes --dry-run --reason --scope --max-slippage --market --status --finish --abandon --explain --output -o --format' ;;
        'cancel-all') echo '--force --include-stops --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'reduce-only') echo '--reason --profile -p --venue --output -o --format --dry-run --yes' ;;
        'disable') echo '--reason --profile -p --venue --output -o --format --dry-run --yes' ;;
        'resume') echo '--as --reason --profile -p --venue --output -o --format --dry-run --yes' ;;
        'status') echo '--profile -p --venue --output -o --format --watch' ;;
        'whoami') echo '--profile -p --venue --output -o --format' ;;
        'positions') echo 'list explain close reduce close-all --source --profile -p --venue --output -o --format --watch' ;;
        'positions list') echo '--source --profile -p --venue --output -o --format --watch' ;;
        'positions explain') echo '--profile -p --venue --output -o --format --watch' ;;
        'positions close') echo '--slot --market --max-slippage --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'positions reduce') echo '--by --to --slot --market --max-slippage --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'positions close-all') echo '--market --max-slippage --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'orders') echo 'list trace adopt --profile -p --venue --output -o --format --watch' ;;
        'orders list') echo '--profile -p --venue --output -o --format --watch' ;;
        'orders trace') echo '--profile -p --venue --output -o --format --watch' ;;
        'orders adopt') echo '--profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'fills') echo 'list --hours --profile -p --venue --output -o --format --watch' ;;
        'fills list') echo '--hours --profile -p --venue --output -o --format --watch' ;;
        'stops') echo 'list verify place --profile -p --venue --output -o --format --watch' ;;
        'stops list') echo '--profile -p --venue --output -o --format --watch' ;;
        'stops verify') echo '--profile -p --venue --output -o --format --watch' ;;
        'stops place') echo '--slot --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'account') echo 'show pin --profile -p --venue --output -o --format --watch' ;;
        'account show') echo '--profile -p --venue --output -o --format --watch' ;;
        'account pin') echo '--profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'margin') echo 'show what-if --profile -p --venue --output -o --format --watch' ;;
        'margin show') echo '--profile -p --venue --output -o --format --watch' ;;
        'margin what-if') echo '--move --at --symbol --profile -p --venue --output -o --format --watch' ;;
        'calendar') echo '--days --profile -p --venue --output -o --format --watch' ;;
        'market') echo 'status list book --profile -p --venue --output -o --format --watch' ;;
        'market status') echo '--profile -p --venue --output -o --format --watch' ;;
        'market list') echo '--profile -p --venue --output -o --format --watch' ;;
        'market book') echo '--depth --profile -p --venue --output -o --format --watch' ;;
        'funding') echo 'overview rates history schedule record --profile -p --venue --output -o --format --watch' ;;
        'funding overview') echo '--profile -p --venue --output -o --format --watch' ;;
        'funding rates') echo '--profile -p --venue --output -o --format --watch' ;;
        'funding history') echo '--days --profile -p --venue --output -o --format --watch' ;;
        'funding schedule') echo '--profile -p --venue --output -o --format --watch' ;;
        'funding record') echo '--profile -p --venue --output -o --format --watch' ;;
        'health') echo '--profile -p --venue --output -o --format --watch' ;;
        'preflight') echo '--all --only-trouble --profile -p --venue --output -o --format --watch' ;;
        'probe') echo '--fresh --profile -p --venue --output -o --format' ;;
        'run') echo '--mode --symbols --risk-level --strategy --duration --feed --speed --seed --flatten --leave-orders --profile -p --venue' ;;
        'wait') echo 'flat --timeout --profile -p --venue --output -o --format' ;;
        'wait flat') echo '--timeout --profile -p --venue --output -o --format' ;;
        'verify') echo 'startup no-orders sync' ;;
        'verify startup') echo '--profile -p --venue --output -o --format --watch' ;;
        'verify no-orders') echo '--profile -p --venue --output -o --format --watch' ;;
        'verify sync') echo '--profile -p --venue --output -o --format --watch' ;;
        'reconcile') echo '--apply --plan --adopt --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'state') echo 'save' ;;
        'state save') echo '--profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'config') echo 'show validate init --origin --profile -p --venue --output -o --format' ;;
        'config show') echo '--origin --profile -p --venue --output -o --format' ;;
        'config validate') echo '--profile -p --venue --output -o --format' ;;
        'config init') echo '--key-file --kill-key-file --backup-key-file --ca-file --risk-level --kill-scope --venue --http --ws --streams --profile -p --output -o --format --dry-run --yes --reason' ;;
        'auth') echo 'test expiry refresh --profile -p --venue --output -o --format' ;;
        'auth test') echo '--profile -p --venue --output -o --format' ;;
        'auth expiry') echo '--profile -p --venue --output -o --format' ;;
        'auth refresh') echo '--profile -p --venue --output -o --format' ;;
        'ws') echo 'test' ;;
        'ws test') echo '--profile -p --venue --output -o --format' ;;
        'paper') echo 'status serve key reset price fault --profile -p --venue --output -o --format --watch' ;;
        'paper status') echo '--profile -p --venue --output -o --format --watch' ;;
        'paper serve') echo '--port --feed --speed --seed --tls --idle-exit --scenario --profile -p --venue' ;;
        'paper key') echo '--out --algorithm --permissions --account --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'paper reset') echo '--force --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'paper price') echo '--profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'paper fault') echo '--method --count --seconds --status --body --id --profile -p --venue --output -o --format --dry-run --yes --reason' ;;
        'completion') echo 'show --profile -p --venue --output -o --format' ;;
        'completion show') echo '--profile -p --venue --output -o --format' ;;
        'enable') echo '--as --reason --profile -p --venue --output -o --format --dry-run --yes' ;;
    esac
}
_perpctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at="" word i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case "$word" in
            --abandon|--account|--algorithm|--as|--at|--backup-key-file|--body|--by|--ca-file|--count|--days|--depth|--duration|--feed|--finish|--format|--hours|--http|--id|--idle-exit|--key-file|--kill-key-file|--kill-scope|--max-slippage|--method|--mode|--move|--out|--output|--permissions|--plan|--port|--profile|--reason|--risk-level|--scenario|--scope|--seconds|--seed|--slot|--source|--speed|--status|--strategy|--streams|--symbol|--symbols|--timeout|--to|--venue|--watch|--ws|-o|-p) ((i++)) ;;
            -*) ;;
            *) case "${at:+$at }$word" in 'kill'|'cancel-all'|'reduce-only'|'disable'|'resume'|'status'|'whoami'|'positions'|'positions list'|'positions explain'|'positions close'|'positions reduce'|'positions close-all'|'orders'|'orders list'|'orders trace'|'orders adopt'|'fills'|'fills list'|'stops'|'stops list'|'stops verify'|'stops place'|'account'|'account show'|'account pin'|'margin'|'margin show'|'margin what-if'|'calendar'|'market'|'market status'|'market list'|'market book'|'funding'|'funding overview'|'funding rates'|'funding history'|'funding schedule'|'funding record'|'health'|'preflight'|'probe'|'run'|'wait'|'wait flat'|'verify'|'verify startup'|'verify no-orders'|'verify sync'|'reconcile'|'state'|'state save'|'config'|'config show'|'config validate'|'config init'|'auth'|'auth test'|'auth expiry'|'auth refresh'|'ws'|'ws test'|'paper'|'paper status'|'paper serve'|'paper key'|'paper reset'|'paper price'|'paper fault'|'completion'|'completion show'|'enable') at="${at:+$at }$word" ;; esac ;;
        esac
    done
    case "$prev" in
        --venue) mapfile -t COMPREPLY < <(compgen -W "us global" -- "$cur"); return ;;
        --kill-scope|--scope) mapfile -t COMPREPLY < <(compgen -W "account ours" -- "$cur"); return ;;
        --format|--output|-o) mapfile -t COMPREPLY < <(compgen -W "table json jsonl csv" -- "$cur"); return ;;
        --risk-level) mapfile -t COMPREPLY < <(compgen -W "conservative moderate aggressive" -- "$cur"); return ;;
        --algorithm) mapfile -t COMPREPLY < <(compgen -W "es256 ed25519" -- "$cur"); return ;;
        --abandon|--account|--algorithm|--as|--at|--backup-key-file|--body|--by|--ca-file|--count|--days|--depth|--duration|--feed|--finish|--format|--hours|--http|--id|--idle-exit|--key-file|--kill-key-file|--kill-scope|--max-slippage|--method|--mode|--move|--out|--output|--permissions|--plan|--port|--profile|--reason|--risk-level|--scenario|--scope|--seconds|--seed|--slot|--source|--speed|--status|--strategy|--streams|--symbol|--symbols|--timeout|--to|--venue|--watch|--ws|-o|-p) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$(_perpctl_after "$at")" -- "$cur")
}
complete -o filenames -F _perpctl perpctl
