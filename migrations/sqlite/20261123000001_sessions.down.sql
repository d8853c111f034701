drop view active_sessions;
drop table session_cutoffs;
drop table sessions;
