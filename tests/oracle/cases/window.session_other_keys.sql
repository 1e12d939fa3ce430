SELECT page, window_start, window_end, COUNT(*) n FROM TABLE(SESSION(TABLE clicks PARTITION BY user_id, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY page, window_start, window_end;
