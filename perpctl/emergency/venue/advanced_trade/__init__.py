"""This room speaks to Advanced Trade for US futures: REST, a token for each request, sizes in whole contracts."""
