SELECT window_start, window_end, COUNT(*) n FROM TABLE(SESSION(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
