SELECT window_start, window_end, window_time, COUNT(*) n FROM TABLE(SESSION(TABLE docs, DESCRIPTOR(lt), INTERVAL '1' DAY)) GROUP BY window_start, window_end, window_time;
