SELECT 1
SELECT * FROM users
SELECT u.id, name FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = 5 ORDER BY 1 LIMIT 10
WITH t AS (SELECT * FROM t) SELECT * FROM t
WITH RECURSIVE t AS (SELECT * FROM t) SELECT * FROM t
WITH d AS (DELETE FROM users RETURNING *) SELECT * FROM d
WITH users AS (SELECT 1) DELETE FROM users
INSERT INTO a.b (x,y) VALUES (1,'2'), (3,4) ON CONFLICT (x) DO UPDATE SET y = excluded.y RETURNING id
INSERT INTO t SELECT * FROM s JOIN c ON s.id = c.id ON CONFLICT DO NOTHING
UPDATE users SET name = 'x' WHERE id = 1
UPDATE users SET name = 'x'
UPDATE users u SET name = o.name FROM orders o WHERE o.id = 5
DELETE FROM users WHERE 1=1
DELETE FROM users WHERE id = id
DELETE FROM users USING orders o WHERE o.x = 1
DELETE FROM users WHERE id IN (SELECT id FROM users)
DELETE FROM users WHERE id IS NULL OR id IS NOT NULL
DELETE FROM users WHERE EXISTS (SELECT 1 FROM orders)
DELETE FROM users WHERE name LIKE '%'
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET x = 1 WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)
MERGE INTO t USING s ON 1=1 WHEN MATCHED THEN DELETE
SELECT * INTO newt FROM users
SELECT pg_read_file('/etc/passwd')
SELECT my_func(a) FROM t
SELECT nextval('s'), set_config('role','admin',false)
SELECT * FROM users FOR UPDATE SKIP LOCKED
COMMIT; DROP TABLE users
SELECT "a""b" FROM "Users" WHERE x = U&"d\0061t\+000061" 
SELECT $tag$ DELETE FROM x; $tag$, E'a\'; DROP TABLE x; --'
/* a /* b */ DELETE FROM x */ SELECT 1 -- ; drop
SELECT EXTRACT(year FROM ts), a IS DISTINCT FROM b, substring(x from 1 for 2) FROM t WHERE a IS NOT DISTINCT FROM 5
SELECT c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','') AND n.nspname !~ '^pg_toast' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2
SELECT a::regclass, count(*) FILTER (WHERE x > 1) OVER (PARTITION BY b ORDER BY c) FROM t GROUP BY 1 HAVING count(*) > 1
(SELECT 1 UNION SELECT a FROM b) UNION ALL (SELECT 2)
SELECT ((SELECT max(x) FROM a) + 2) FROM LATERAL (SELECT * FROM b) q, unnest(ARRAY[1,2]) WITH ORDINALITY AS z(a,b)
SELECT 1; SELECT 2;
VALUES (1),(2)
TABLE users
SELECT AS from FROM users
select x as into from t
SELECT * FROM ONLY parent WHERE id = 1
SELECT a.* FROM (a JOIN b USING (id)) LEFT JOIN (c CROSS JOIN d) ON a.x = c.x, e
SELECT * FROM a, LATERAL f(a.x) AS t(y int), ROWS FROM (g(1), h(2)) WITH ORDINALITY r
SELECT * FROM json_to_recordset('[]') AS x(a int, b text)
SELECT * FROM XMLTABLE('/x' PASSING doc COLUMNS a int PATH '@a', b text DEFAULT 'x') AS t
SELECT DISTINCT ON (a, b) a, b c FROM t WINDOW w AS (PARTITION BY a), v AS (w ORDER BY b) ORDER BY a NULLS LAST FETCH FIRST 5 ROWS ONLY
SELECT sum(a) OVER w FROM t WINDOW w AS (ORDER BY b ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) LIMIT ALL OFFSET 3 ROWS
SELECT * FROM t WHERE (a, b) IN ((1,2),(3,4)) AND c BETWEEN SYMMETRIC 1 AND 2 OR d ISNULL
SELECT ARRAY(SELECT x FROM y), ARRAY[1,2,3][1:2], (ROW(1,2)).f1, (t).*, t.a.b FROM t
SELECT CASE WHEN a THEN (SELECT 1 FROM z) ELSE 2 END FROM t GROUP BY GROUPING SETS ((a),(b)), ROLLUP(c), CUBE(d)
SELECT CAST(x AS numeric(10,2)), x::double precision, y::timestamp with time zone AT TIME ZONE 'UTC', INTERVAL '1' DAY FROM t
SELECT 'a' 'b'
SELECT 'a'\n'b; drop table x'
SELECT * FROM t FOR NO KEY UPDATE OF t NOWAIT FOR SHARE
SELECT * FROM t TABLESAMPLE BERNOULLI (10) REPEATABLE (1) WHERE x = 1
SELECT x OPERATOR(pg_catalog.=) y, a COLLATE "C", b ~* 'x', c @> d, e === f FROM t
SELECT string_agg(DISTINCT a, ',' ORDER BY b), percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM t
INSERT INTO t DEFAULT VALUES
INSERT INTO t (a) OVERRIDING SYSTEM VALUE VALUES (1) RETURNING *
INSERT INTO t TABLE s
INSERT INTO t (SELECT * FROM s)
INSERT INTO t WITH x AS (SELECT * FROM y) SELECT * FROM x RETURNING a
WITH x AS (INSERT INTO a VALUES (1) RETURNING id), y AS (UPDATE b SET z=1 WHERE id IN (SELECT id FROM x)) INSERT INTO c SELECT id FROM x
UPDATE ONLY t * SET (a,b) = (SELECT 1,2 FROM z), c = DEFAULT, d[1] = 2 WHERE CURRENT OF cur
UPDATE t SET a = CASE WHEN b THEN 1 END FROM u LEFT JOIN v ON u.x = v.x WHERE t.id = u.id RETURNING t.*
DELETE FROM ONLY (t) AS x USING a, b WHERE x.id = a.id
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t WHERE n < 100) SEARCH DEPTH FIRST BY n SET ord CYCLE n SET c USING p SELECT sum(n) FROM t
WITH a AS (SELECT 1), b AS (SELECT * FROM a), c AS MATERIALIZED (SELECT * FROM b, d) SELECT * FROM c, public.a
WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a
SELECT * FROM (WITH q AS (SELECT * FROM r) SELECT * FROM q) s, q
WITH x AS (SELECT 1) SELECT * FROM (WITH x AS (SELECT * FROM x) SELECT * FROM x) y
SELECT 1 UNION SELECT 2 FROM a INTERSECT (SELECT 3 FROM b ORDER BY 1 LIMIT 1) ORDER BY 1
SELECT a b FROM t c
select t.update, t.delete from t where t.insert = 1 and delete = 2
SELECT count(*) AS delete, x AS update FROM t
SELECT query_to_xml('DELETE FROM users', true, false, '')
SELECT * FROM dblink('host=x', 'select 1') AS t(a int)
SELECT dblink_exec('DROP TABLE canary')
SELECT lo_import('/etc/passwd'), lo_export(1, '/tmp/x')
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
SELECT setval('s', 1), lastval(), currval('s')
SELECT * FROM users WHERE id = $1 AND name = $2
SELECT * FROM t1 a, t2 b WHERE a.x = b.x AND EXISTS (SELECT 1 FROM t3 c WHERE c.y = (SELECT max(z) FROM t4))
SELECT json_build_object('a', (SELECT b FROM c)), xmlelement(name foo, xmlattributes(a AS b), (SELECT d FROM e))
SELECT * FROM t ORDER BY (SELECT x FROM y) LIMIT (SELECT 1 FROM z) OFFSET (SELECT 2 FROM w)
SELECT a FROM t GROUP BY (SELECT b FROM u) HAVING count(*) > (SELECT c FROM v) WINDOW w AS (PARTITION BY (SELECT d FROM x))
INSERT INTO t (a, b) VALUES ((SELECT 1 FROM x), (SELECT 2 FROM y)) ON CONFLICT (a) DO UPDATE SET b = (SELECT 3 FROM z) WHERE (SELECT true FROM w)
UPDATE t SET (a, b) = (SELECT c, d FROM e) WHERE f = (SELECT g FROM h) RETURNING (SELECT i FROM j)
MERGE INTO t USING (SELECT * FROM s) x ON t.id = x.id WHEN MATCHED AND x.a = (SELECT 1 FROM q) THEN UPDATE SET a = (SELECT 2 FROM r) WHEN NOT MATCHED THEN INSERT VALUES ((SELECT 3 FROM u))
MERGE INTO t AS a USING s b JOIN c ON b.x = c.x ON a.id = b.id WHEN MATCHED THEN DO NOTHING
SELECT * FROM f((SELECT 1 FROM hidden)), unnest(ARRAY(SELECT a FROM hidden2))
SELECT ROW((SELECT a FROM b)).f1, ARRAY[(SELECT c FROM d)][1]
SELECT CASE (SELECT a FROM b) WHEN (SELECT c FROM d) THEN (SELECT e FROM f) ELSE (SELECT g FROM h) END
SELECT count(*) FILTER (WHERE x IN (SELECT a FROM b)) OVER (ORDER BY (SELECT c FROM d))
SELECT a BETWEEN (SELECT 1 FROM b) AND (SELECT 2 FROM c), x LIKE (SELECT d FROM e), y = ALL (SELECT f FROM g)
SELECT * FROM a WHERE (x, y) = (SELECT 1, 2 FROM b) AND z NOT IN (VALUES (1), ((SELECT 3 FROM c)))
SELECT * FROM a WHERE x IN (TABLE b) OR y = ANY (TABLE c)
SELECT * FROM (VALUES (1, (SELECT a FROM b))) v(x, y)
SELECT * FROM ((SELECT 1 FROM a) UNION (SELECT 2 FROM b)) x
SELECT * FROM (a), ((b)), (((c JOIN d ON true)))
SELECT (((SELECT a FROM b))), ((SELECT c FROM d) UNION SELECT e FROM f)
WITH x AS (TABLE a) TABLE x
WITH x AS NOT MATERIALIZED (VALUES (1)) SELECT * FROM x
VALUES ((SELECT a FROM b)), (2) ORDER BY 1 LIMIT 1
TABLE a UNION TABLE b
SELECT * FROM a WHERE b = 'x' COLLATE "de_DE" AND c IS JSON AND d IS DOCUMENT AND e IS NORMALIZED
SELECT '{}'::jsonb #>> '{a,b}', a -> 'b' ->> 'c', x @? '$.a', y @@ to_tsquery('z')
SELECT TRIM(BOTH 'x' FROM y), OVERLAY(a PLACING b FROM 1 FOR 2), POSITION('a' IN b), NORMALIZE(x, NFC), COLLATION FOR (a) FROM t
SELECT a::varchar(10)[], b::bit varying(3), CAST(c AS timestamp(3) with time zone), d::"char", e::public.mytype, f::int[3][4]
SELECT DATE '2020-01-01' + INTERVAL '1 year 2 months', TIMESTAMP WITH TIME ZONE '2020-01-01 00:00:00Z', TIME '10:00'
SELECT float8 '1.5', point '(1,2)', public.mytype 'x', bit '101'
SELECT a.*, (b).*, (b.c).d, (f(x)).y, b[1].c FROM a, b
SELECT x y, z AS "w", count(*) cnt, 1 one FROM t AS u(x, z)
SELECT all a FROM t
SELECT FROM t
SELECT
SELECT WHERE true
SELECT 1 AS select, 2 AS from
SELECT a AS "from", "select".b FROM "select"
SELECT name, value, type, year, month, key, data, level FROM settings WHERE name = 'x' AND year > 5
SELECT user_id, position, left, right FROM t
SELECT * FROM t WHERE now() - created_at > interval '1 hour' AND status NOT IN ('a','b') AND deleted_at IS NULL
SELECT * FROM t WHERE a = ANY($1) AND b = ALL($2::int[]) AND (c, d) > ($3, $4) LIMIT $5 OFFSET $6
SELECT SUM(CASE WHEN a > 0 THEN 1 ELSE 0 END) / NULLIF(COUNT(*), 0)::numeric AS ratio FROM t GROUP BY date_trunc('day', ts)
SELECT row_number() OVER (PARTITION BY a ORDER BY b DESC NULLS LAST ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) rn FROM t
SELECT * FROM t1 LEFT OUTER JOIN t2 ON (t1.a = t2.b) RIGHT JOIN t3 USING (c) FULL JOIN t4 ON t4.d = t3.d INNER JOIN t5 ON true
SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a int PATH '$.a', NESTED PATH '$.b' COLUMNS (c text PATH '$'))) jt
SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.x = t.x ORDER BY 1 LIMIT 1) l WHERE l.y = 1
INSERT INTO t AS x (a) SELECT b FROM c WHERE d = 1 UNION ALL SELECT e FROM f ON CONFLICT ON CONSTRAINT k DO UPDATE SET a = x.a + 1 RETURNING *, x.a AS b
INSERT INTO "T" ("A", b[1], c.d) VALUES (DEFAULT, 1, 2)
UPDATE t SET a = a + 1, b = b || 'x', c = NOW() WHERE id IN (1,2,3) AND x = 'y'
UPDATE s.t AS u SET a = v.b FROM (SELECT 1 b) AS v, w JOIN z ON w.a = z.a WHERE u.id = v.b
DELETE FROM t WHERE id IN (SELECT id FROM t WHERE ts < now() ORDER BY ts LIMIT 100 FOR UPDATE SKIP LOCKED)
WITH moved AS (DELETE FROM a WHERE x = 1 RETURNING *) INSERT INTO b SELECT * FROM moved
WITH upd AS (UPDATE a SET b = 1 WHERE c = 2 RETURNING *), ins AS (INSERT INTO d SELECT * FROM upd RETURNING id) SELECT count(*) FROM ins JOIN e ON true
EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM t
