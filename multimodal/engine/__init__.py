"""Shards × steps: each unit done once, committed atomically, by local processes or by Ray.

`steps` says what a step is, `context` what its function is given, `commits` what counts as done,
`schedule` what may run next, `running` is the loop; `local_pool` and `ray_pool` do the work. The
built-in steps are one file each: `ingest`, `embed_text`, `layout`, `judge`, `table`.
"""
