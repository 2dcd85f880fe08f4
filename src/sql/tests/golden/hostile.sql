;;;
-- only a comment
/* x
SELECT 'abc
SELECT "abc
SELECT $$abc
SELECT (1
SELECT 1)
SELECT (1; DELETE FROM users
SELECT 1; DELETE FROM users)
((((SELECT 1))))
((SELECT 1) UNION (SELECT 2 FROM a)) ORDER BY 1
﻿SELECT * FROM users
SELECT * FROM users
SELECT/**/1/**/FROM/**/users
SELECT*FROM"users"WHERE"id"=1
SELECT 1FROM users
SELECT E'\\'; DROP TABLE x; --'
SELECT U&'d\0061t' UESCAPE '!', U&"u!0073ers" UESCAPE '!' FROM U&"u!0073ers" UESCAPE '!'
SELECT * FROM "USERS", Users, "users", pg_temp.users
SELECT * FROM averyveryveryveryveryveryveryveryveryveryveryveryveryverylongtablename_that_is_cut
SELECT 1 INSERT INTO foo
SELECT 1 AS x INTO foo FROM bar
SELECT a FROM t WHERE x = (DELETE FROM users RETURNING 1)
SELECT * FROM (DELETE FROM users RETURNING *) q
SELECT * FROM users WHERE EXISTS (WITH d AS (DELETE FROM t RETURNING 1) SELECT 1)
WITH a AS (WITH b AS (UPDATE t SET x = 1 RETURNING *) SELECT * FROM b) SELECT * FROM a
DELETE FROM users WHERE (1=1)
DELETE FROM users WHERE 'a'='a'
DELETE FROM users WHERE x > 1 OR true
DELETE FROM users WHERE NOT false
DELETE FROM users WHERE NOT (id <> id)
DELETE FROM users WHERE id = 1 OR 1 = 1
DELETE FROM users WHERE id = 1 AND 1 = 1
DELETE FROM users WHERE $1
DELETE FROM users WHERE $1 = 1
DELETE FROM users WHERE id = $1
DELETE FROM users WHERE id = $1 OR $2
DELETE FROM users WHERE users.id = id
DELETE FROM users u WHERE u.id = u.id
DELETE FROM users WHERE id >= id
DELETE FROM users WHERE id IN (1, id)
DELETE FROM users WHERE id BETWEEN id AND id
DELETE FROM users WHERE name ILIKE '%%'
DELETE FROM users WHERE name LIKE 'a%'
DELETE FROM users WHERE name ~ '.*'
DELETE FROM users WHERE id = ANY (SELECT id FROM users)
DELETE FROM users WHERE id = ANY (ARRAY(SELECT id FROM users))
DELETE FROM users WHERE id IN (SELECT id FROM users WHERE true)
DELETE FROM users WHERE id IN (SELECT id FROM users LIMIT 5)
DELETE FROM users WHERE id IN (SELECT user_id FROM orders)
DELETE FROM users WHERE (SELECT count(*) FROM orders) > 0
DELETE FROM users WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = users.id)
DELETE FROM users WHERE EXISTS (SELECT 1 FROM users WHERE id = 5)
DELETE FROM users WHERE EXISTS (SELECT 1 FROM orders WHERE user_id = 5)
DELETE FROM users WHERE now() > now() - interval '1' day
DELETE FROM users WHERE extract(year from now()) = 2024
DELETE FROM users WHERE created < now() - interval '1 day'
DELETE FROM users WHERE (id = id) IS TRUE
DELETE FROM users WHERE (id = id) = true
DELETE FROM users WHERE id = 1 OR id <> 1
DELETE FROM users WHERE level < 2 OR level >= 8
DELETE FROM users WHERE id IS NOT NULL
DELETE FROM users WHERE CASE WHEN id = 1 OR id = 2 THEN true END
DELETE FROM users WHERE CURRENT_USER = 'bob'
DELETE FROM users WHERE (id, name) IN (SELECT id, name FROM users)
DELETE FROM users WHERE ctid = '(0,1)'
DELETE FROM users WHERE id IS NOT DISTINCT FROM id
DELETE FROM users WHERE coalesce(active, true)
DELETE FROM users WHERE active
UPDATE users SET x = (SELECT 1 WHERE 1=1) WHERE true
UPDATE a SET x = 1 FROM b WHERE b.id = a.id AND b.y = 2
UPDATE a SET x = 1 FROM b WHERE b.id = 3
WITH x AS (DELETE FROM a WHERE id = 1), y AS (DELETE FROM b) SELECT 1
INSERT INTO log SELECT * FROM (DELETE FROM users RETURNING *) x
INSERT INTO t VALUES (1) ON CONFLICT (id) WHERE a > 1 DO UPDATE SET (a,b) = (excluded.a, 2) WHERE t.x = 1 RETURNING (SELECT 1 FROM z)
TRUNCATE ONLY users RESTART IDENTITY
EXPLAIN ANALYSE DELETE FROM users
EXPLAIN (FORMAT json) EXPLAIN SELECT 1
EXPLAIN ANALYZE WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x
EXPLAIN ANALYZE EXECUTE foo
PREPARE x (int) AS WITH d AS (DELETE FROM u RETURNING 1) SELECT * FROM d
PREPARE x AS DROP TABLE y
DO $x$ import os; os.system("rm") $x$ LANGUAGE plpython3u
CREATE FUNCTION f() RETURNS trigger AS $$ begin if (select 1) then delete from secret; end if; end $$ LANGUAGE plpgsql
SET ROLE admin; DELETE FROM users; RESET ROLE
SELECT set_config('session_replication_role', 'replica', true)
SELECT set_config(x, 'y', false)
select * from t where a like 'x' escape '\' and b
SELECT * FROM t WHERE a = ANY('{1,2}'::int[]) AND b @> '{"a":1}'::jsonb AND c ? 'x' AND d ->> 'k' = 'v'
SELECT pg_catalog.lower('A'), myschema.lower('A')
SELECT 1 WHERE 1 = 1 -- comment; DROP TABLE users
SELECT current_user, session_user, user, current_date
SELECT * FROM generate_series(1, 10) AS g(x) CROSS JOIN LATERAL (SELECT g.x) y
SELECT a.b.c FROM a.b
SELECT (SELECT 1 UNION ALL SELECT x FROM y), 2 FROM z
SELECT DISTINCT a FROM t1 NATURAL JOIN t2 FULL OUTER JOIN t3 USING (x) AS j
SELECT left(a, 1), right(b, 2) FROM t LEFT JOIN u ON left(t.a, 1) = right(u.b, 1) JOIN v ON true
BEGIN TRANSACTION; LOCK TABLE x; COMMIT WORK
ABORT
END
ROLLBACK TRANSACTION TO SAVEPOINT x
SELECT `id` FROM `users`
SELECT 1 # comment
SELECT /*! 1 */ 2
SELECT * FROM users WHERE id = 1 /*! OR 1=1 */
SHOW search_path
SHOW garbage here now
FETCH garbage DELETE FROM x y z w
HANDLER users OPEN
REPLACE INTO t VALUES (1)
USE foo
SELECT * FROM users LIMIT 10, 5
DELETE FROM users LIMIT 5
DELETE users WHERE id = 1
UPDATE users WHERE id = 1
INSERT users VALUES (1)
SELECT TOP 5 * FROM users
CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC UPDATE t SET a = CASE WHEN b THEN 1 ELSE 2 END; END; DROP TABLE x
COPY t TO STDOUT; DELETE FROM x
SELECT nextval('s'::regclass)
SELECT * FROM pg_read_file('/etc/passwd')
GRANT ALL PRIVILEGES ON DATABASE x TO y
ALTER TABLE IF EXISTS ONLY public.users ADD CONSTRAINT x PRIMARY KEY (id)
ALTER TABLE a.b ALTER COLUMN c DROP NOT NULL, ALTER c DROP DEFAULT
SELECT count(*) FROM users HAVING count(*) > 1 FOR UPDATE OF users
SELEC * FROM users
DELETE FORM users
EXPLAIN ANALYZE (DELETE FROM t)
CREATE FUNCTION f(begin atomic) RETURNS int LANGUAGE sql AS 'select 1'; DROP TABLE users; SELECT 1 END
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 AS case; END; DROP TABLE users
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT x.case FROM x; END; DROP TABLE users
ALTER TABLE t ALTER COLUMN a TYPE int USING evil(a)
ALTER TABLE t ADD COLUMN a int DEFAULT evil(), ALTER b SET DEFAULT nextval('s')
ALTER TABLE t ADD CONSTRAINT c EXCLUDE USING gist (a WITH &&)
CREATE INDEX ON t (evil(a), lower(b)) WHERE worse(c)
SELECT "set_config"('role', 'x', false), U&"set_c\006fnfig"('role', 'y', false)
SELECT set_config('ro' || 'le', 'x', false), set_config(setting_name => 'role', new_value => 'x', is_local => false)
SET "role" TO admin
SET SESSION ROLE admin
