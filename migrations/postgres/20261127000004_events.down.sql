drop function sessile.revoke(uuid, text, text), sessile.revoke_user(text, text, text),
    sessile.revoke_others(text, uuid, text, text), sessile.revoke_all(text, text),
    sessile.revoke_scope(text, uuid, text, text), sessile.cut_off(text, text), sessile.check_user_id(text),
    sessile.check_revocation(text, text);
drop view sessile.sessions_by_hour, sessile.cleanup_runs, sessile.session_counts, sessile.session_events;
drop table sessile.session_cleanup_log, sessile.session_event_log;
drop function sessile.refuse_change_of_event();
comment on view sessile.active_sessions is
    'The live sessions, for people and dashboards: neither secret hash nor data.';
