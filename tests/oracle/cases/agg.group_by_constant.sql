SELECT 'x' k, COUNT(*) n FROM orders GROUP BY 'x';
