WITH d AS (DELETE FROM users u USING orders o WHERE u.id = o.user_id RETURNING u.id) SELECT count(*) FROM d; -- /* x */
COPY (DELETE FROM "Users" RETURNING id) TO STDOUT; EXPLAIN ANALYZE UPDATE a.b SET c = E'\'' || $$x$$ || $t$y$t$ WHERE 1=1;
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE; PREPARE q AS DELETE FROM users WHERE id = $1; EXECUTE q(1);
DO $$BEGIN DELETE FROM users; END$$; SELECT * INTO copied FROM users; TRUNCATE users CASCADE; U&'d\0061t' /* nested /* c */ */
