// postgres.js: tagged templates, pipelining without being asked, cursors, COPY, notifications.

const fs = require('node:fs');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const assert = require('node:assert/strict');
const postgres = require('postgres');

const connect = (more = {}) =>
  postgres({ ssl: { ca: fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8') }, onnotice: () => {}, ...more });

async function pipelines(sql) {
  // Many queries on few connections: they are sent without waiting for answers.
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, n) => sql`SELECT ${n}::int * 2 AS doubled`),
  );
  assert.deepEqual(answers.map(([row]) => row.doubled), Array.from({ length: 300 }, (_, n) => n * 2));
  const mixed = await Promise.allSettled(
    Array.from({ length: 60 }, (_, n) => (n % 3 === 1 ? sql`DELETE FROM users` : sql`SELECT ${n}::int AS n`)),
  );
  mixed.forEach((answer, n) => {
    if (n % 3 === 1) assert.equal(answer.reason?.code, '42501');
    else assert.equal(answer.value?.[0].n, n);
  });
}

async function fragments(sql) {
  const rows = Array.from({ length: 200 }, (_, n) => ({ owner: n + 1, body: `inserted ${n}` }));
  const made = await sql`INSERT INTO notes ${sql(rows, 'owner', 'body')} RETURNING id`;
  assert.equal(made.length, 200);
  const found = await sql`SELECT name FROM users WHERE id IN ${sql([3, 4])} ORDER BY id`;
  assert.deepEqual(found.map((row) => row.name), ['user 3', 'user 4']);
  const [row] = await sql`SELECT id, name, score, tags, extra FROM users WHERE id = 6`;
  assert.deepEqual({ ...row }, { id: 6, name: 'user 6', score: 2, tags: ['a6', 'b'], extra: { n: 6 } });
  const [back] = await sql`SELECT ${sql.json({ deep: [1, 2] })}::jsonb AS json, ${sql.array(['x', 'y'])}::text[] AS list`;
  assert.deepEqual({ ...back }, { json: { deep: [1, 2] }, list: ['x', 'y'] });
  const several = await sql`SELECT 1 AS a; SELECT 2 AS b`.simple();
  assert.deepEqual(several.map(([row]) => ({ ...row })), [{ a: 1 }, { b: 2 }]);
}

async function transactions(sql) {
  await Promise.all(
    Array.from({ length: 12 }, (_, n) =>
      sql.begin(async (sql) => {
        await sql`INSERT INTO notes (owner, body) VALUES (${n + 1}, 'transaction')`;
        await sql.savepoint((sql) => sql`SELECT 1 / 0`).catch((error) => assert.equal(error.code, '22012'));
        await sql.savepoint((sql) => sql`DELETE FROM users`).catch((error) => assert.equal(error.code, '42501'));
        const [{ count }] = await sql`SELECT count(*)::int FROM notes WHERE owner = ${n + 1} AND body = 'transaction'`;
        assert.equal(count, 1);
      }),
    ),
  );
  await assert.rejects(
    sql.begin((sql) => [sql`UPDATE users SET name = 'lost' WHERE id = 1`, sql`SELECT nothing`]),
    { code: '42703' },
  );
  const [{ name }] = await sql`SELECT name FROM users WHERE id = 1`;
  assert.equal(name, 'user 1');
}

async function cursors(sql) {
  const ids = [];
  for await (const rows of sql`SELECT id FROM users ORDER BY id`.cursor(40)) ids.push(...rows.map((row) => row.id));
  assert.equal(ids.length, 300);
  let seen = 0;
  await sql`SELECT id FROM users ORDER BY id`.cursor(10, () => ((seen += 1) === 3 ? sql.CLOSE : undefined));
  assert.equal(seen, 3);
  let rows = 0;
  await sql`SELECT id FROM users`.forEach(() => (rows += 1));
  assert.equal(rows, 300);
}

async function copies(sql) {
  const lines = Array.from({ length: 2000 }, (_, n) => `${(n % 300) + 1}\tcopied ${n}\n`);
  await pipeline(Readable.from(lines), await sql`COPY notes (owner, body) FROM STDIN`.writable());
  let text = '';
  for await (const chunk of await sql`COPY (SELECT body FROM notes WHERE body LIKE 'copied%' ORDER BY id) TO STDOUT`.readable()) {
    text += chunk;
  }
  assert.equal(text.trimEnd().split('\n').length, 2000);
}

async function largeObjects(sql) {
  const content = Buffer.from(Array.from({ length: 50_000 }, (_, n) => (n * 7) % 251));
  const [{ oid }] = await sql`SELECT lo_creat(-1) AS oid`;
  const object = await sql.largeObject(oid);
  await object.write(content);
  await object.seek(100);
  const [{ data }] = await object.read(60_000);
  assert.ok(content.subarray(100).equals(data));
  // The driver does not say when the transaction of a closed object has ended.
  await object.close();
  assert.equal((await sql`SELECT lo_unlink(${oid}) AS gone`)[0].gone, 1);
}

async function notifications(sql) {
  const heard = [];
  const { unlisten } = await sql.listen('news', (payload) => heard.push(payload));
  for (let n = 0; n < 3; n += 1) await sql.notify('news', `number ${n}`);
  for (let waited = 0; heard.length < 3 && waited < 100; waited += 1) await new Promise((go) => setTimeout(go, 50));
  assert.deepEqual(heard, ['number 0', 'number 1', 'number 2']);
  await unlisten();
}

async function cancelling(sql) {
  const query = sql`SELECT pg_sleep(30)`;
  const outcome = assert.rejects(query, { code: '57014' });
  setTimeout(() => query.cancel(), 300);
  await outcome;
  assert.equal((await sql`SELECT 1 AS one`)[0].one, 1);
}

async function policies(sql) {
  for (const [query, code, rule] of [
    [() => sql`DELETE FROM users`, '42501', 'require-where/no-where'],
    [() => sql`UPDATE users SET name = ${"x"} WHERE id <= ${150}`, '54000', 'table_limits/rows-changed-max'],
    [() => sql`SELECT * FROM canary_keys`, '42P01', undefined],
  ]) {
    await assert.rejects(query(), (error) => {
      assert.equal(error.code, code);
      assert.equal(error.constraint_name, rule);
      if (rule) assert.ok(error.hint && error.detail);
      return true;
    });
    assert.equal((await sql`SELECT count(*)::int AS n FROM users`)[0].n, 300);
  }
}

async function main() {
  const sql = connect({ max: 4 });
  for (const part of [pipelines, fragments, transactions, cursors, copies, largeObjects, notifications, cancelling, policies]) {
    await part(sql);
    console.log(part.name);
  }
  const unprepared = connect({ max: 3, prepare: false });
  await pipelines(unprepared);
  await Promise.all([sql.end(), unprepared.end()]);
  console.log('fine');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
