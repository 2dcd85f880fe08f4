// node-postgres: named statements, a pool, COPY streams, cursors, notifications.

const fs = require('node:fs');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const assert = require('node:assert/strict');
const { Client, Pool } = require('pg');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');
const QueryStream = require('pg-query-stream');

const config = { ssl: { ca: fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8') } };

async function withClient(body) {
  const client = new Client(config);
  await client.connect();
  try {
    await body(client);
  } finally {
    await client.end();
  }
}

async function namedStatements() {
  const clients = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const client = new Client(config);
      await client.connect();
      return client;
    }),
  );
  for (let round = 0; round < 10; round += 1) {
    // Not one after the other: more transactions at once than server connections.
    await Promise.all(
      clients.map(async (client, number) => {
        const text = 'SELECT name FROM users WHERE id = $1';
        const one = await client.query({ name: 'find', text, values: [number + 1] });
        assert.equal(one.rows[0].name, `user ${number + 1}`);
        const own = await client.query({ name: 'own', text: `SELECT $1::int + ${number} AS n`, values: [round] });
        assert.equal(own.rows[0].n, round + number);
      }),
    );
  }
  await Promise.all(clients.map((client) => client.end()));
}

async function pool() {
  const pool = new Pool({ ...config, max: 5 });
  await Promise.all(
    Array.from({ length: 20 }, async (_, number) => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await client.query('INSERT INTO notes (owner, body) VALUES ($1, $2)', [number + 1, 'node']);
        const { rows } = await client.query("SELECT count(*)::int AS n FROM notes WHERE owner = $1 AND body = 'node'", [
          number + 1,
        ]);
        assert.equal(rows[0].n, 1);
        await client.query('COMMIT');
      } finally {
        client.release();
      }
    }),
  );
  await pool.end();
}

async function types() {
  await withClient(async (client) => {
    const sql = 'SELECT id, name, score, tags, extra FROM users WHERE id = $1';
    for (const binary of [false, true]) {
      const { rows, fields } = await client.query({ text: sql.replace(', tags, extra', ''), values: [6], binary });
      assert.deepEqual(rows, [{ id: 6, name: 'user 6', score: 2 }]);
      assert.deepEqual(fields.map((field) => field.name), ['id', 'name', 'score']);
    }
    const { rows } = await client.query({ text: sql, values: [6], rowMode: 'array' });
    assert.deepEqual(rows, [[6, 'user 6', 2, ['a6', 'b'], { n: 6 }]]);
    const several = await client.query('SELECT 1 AS a; SELECT 2 AS b');
    assert.deepEqual(several.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
  });
}

async function copies() {
  await withClient(async (client) => {
    const lines = Array.from({ length: 3000 }, (_, n) => `${(n % 300) + 1}\tcopied ${n}\n`);
    const into = client.query(copyFrom('COPY notes (owner, body) FROM STDIN'));
    await pipeline(Readable.from(lines), into);
    assert.equal(into.rowCount, 3000);
    const out = client.query(copyTo("COPY (SELECT body FROM notes WHERE body LIKE 'copied%' ORDER BY id) TO STDOUT"));
    let text = '';
    for await (const chunk of out) text += chunk;
    assert.equal(text.trimEnd().split('\n')[2999], 'copied 2999');
    const { rows } = await client.query('SELECT 1 AS one');
    assert.deepEqual(rows, [{ one: 1 }]);
  });
}

async function cursors() {
  await withClient(async (client) => {
    const ids = [];
    const stream = client.query(new QueryStream('SELECT id FROM users ORDER BY id', [], { batchSize: 35 }));
    for await (const row of stream) ids.push(row.id);
    assert.deepEqual(ids, Array.from({ length: 300 }, (_, n) => n + 1));
    const given = client.query(new QueryStream('SELECT id FROM users ORDER BY id', [], { batchSize: 10 }));
    for await (const row of given) if (row.id === 15) break;
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
  });
}

async function notifications() {
  await withClient(async (listener) => {
    const heard = new Promise((resolve) => listener.once('notification', resolve));
    await listener.query('LISTEN news');
    await withClient((sender) => sender.query("SELECT pg_notify('news', 'by node-postgres')"));
    const { channel, payload } = await heard;
    assert.deepEqual([channel, payload], ['news', 'by node-postgres']);
  });
}

async function transactions() {
  await withClient(async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE users SET name = 'kept' WHERE id = 1");
    await client.query('SAVEPOINT one');
    await assert.rejects(client.query('SELECT 1 / 0'), { code: '22012' });
    await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
    await client.query('ROLLBACK TO one');
    await assert.rejects(client.query('DELETE FROM users'), { code: '42501' });
    await client.query('ROLLBACK TO one');
    await client.query('COMMIT');
    const { rows } = await client.query('SELECT name FROM users WHERE id = 1');
    assert.equal(rows[0].name, 'kept');
  });
}

async function cancelling() {
  await withClient(async (client) => {
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    assert.ok(rows[0].pid > 0);
    await client.query("SET statement_timeout = '300ms'");
    await assert.rejects(client.query('SELECT pg_sleep(30)'), { code: '57014' });
    await client.query('RESET statement_timeout');
    // The driver's own way: a second connection with the key of the first.
    const sleeping = client.query('SELECT pg_sleep(30)');
    const query = client._activeQuery || client.activeQuery;
    setTimeout(() => new Client(config).cancel(client, query), 300);
    await assert.rejects(sleeping, { code: '57014' });
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
  });
}

async function policies() {
  await withClient(async (client) => {
    for (const [text, code, constraint] of [
      ['DELETE FROM users', '42501', 'require-where/no-where'],
      ["UPDATE users SET name = 'x' WHERE id <= 150", '54000', 'table_limits/rows-changed-max'],
      ['SELECT * FROM canary_keys', '42P01', undefined],
    ]) {
      for (const query of [{ text }, { text, values: [], name: `refused ${code}` }]) {
        await assert.rejects(client.query(query), (error) => {
          assert.equal(error.code, code, text);
          assert.equal(error.constraint, constraint, text);
          if (constraint) assert.ok(error.hint && error.detail, text);
          return true;
        });
        const { rows } = await client.query('SELECT count(*)::int AS n FROM users');
        assert.equal(rows[0].n, 300, text);
      }
    }
  });
}

async function main() {
  for (const part of [
    namedStatements, pool, types, copies, cursors, notifications, transactions, cancelling, policies,
  ]) {
    await part();
    console.log(part.name);
  }
  console.log('fine');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
