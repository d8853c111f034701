-- The schema itself stays: it holds the ledger of migrations.
drop view sessile.active_sessions;
drop table sessile.session_cutoffs;
drop table sessile.sessions;
