SELECT window_start, window_end, COUNT(*) n FROM TABLE(CUMULATE(TABLE docs, DESCRIPTOR(lt), INTERVAL '1' DAY, INTERVAL '7' DAY)) GROUP BY window_start, window_end;
