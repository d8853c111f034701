-- Distributes the tables of sessile over the nodes of a Citus cluster: sessions by their id, cut-offs by their user.
-- Run it once, on the coordinator, as the owner of the tables, after the migrations. See docs/scaling.md.
select create_distributed_table('sessile.sessions', 'id', colocate_with => 'none');
select create_distributed_table('sessile.session_cutoffs', 'user_id', colocate_with => 'none');
