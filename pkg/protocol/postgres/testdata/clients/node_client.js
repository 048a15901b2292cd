// What a JavaScript job does with node-postgres: values, prepared statements,
// cursors, errors, transactions, notifications, a pool.
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');

async function main(connectionString) {
  const client = new Client({ connectionString });
  await client.connect();
  const values = ['ü', 2n ** 40n, 12.5, Buffer.from([0, 1]), null, new Date(0), [1, 2], { a: 'b' }];
  const types = ['text', 'int8', 'numeric', 'bytea', 'text', 'timestamptz', 'int[]', 'jsonb'];
  const columns = types.map((type, i) => `$${i + 1}::${type} AS c${i}`).join(', ');
  console.log('values', JSON.stringify((await client.query(`SELECT ${columns}`, values)).rows));
  for (let n = 0; n < 8; n++) {
    const { rows, command, rowCount } = await client.query({ name: 'next', text: 'SELECT $1::int + 1 AS n', values: [n] });
    console.log('prepared', JSON.stringify(rows), command, rowCount);
  }
  const several = await client.query('SELECT 1 AS a; SELECT 2 AS b');
  console.log('several', JSON.stringify(several.map((r) => r.rows)));
  for (const statement of ['SELECT 1/0', 'SELECT broken', 'SELECT']) {
    await client.query(statement).then((r) => console.log('rows', r.rows.length), (e) => console.log('error', e.code, e.message));
  }
  await client.query('CREATE TEMP TABLE t (a int, b text)');
  await client.query('BEGIN');
  await client.query('INSERT INTO t SELECT n, repeat($1, n) FROM generate_series(1, 500) n', ['x']);
  await client.query('INSERT INTO missing VALUES (1)').catch((e) => console.log('failed', e.code));
  await client.query('SELECT 1').catch((e) => console.log('aborted', e.code));
  await client.query('ROLLBACK');
  console.log('undone', (await client.query('SELECT count(*) FROM t')).rows[0].count);
  const cursor = client.query(new Cursor('SELECT n, repeat(\'y\', n) AS b FROM generate_series(1, $1::int) n', [250]));
  for (let rows = await cursor.read(100); rows.length; rows = await cursor.read(100)) {
    console.log('cursor', rows.length, rows[rows.length - 1].b.length);
  }
  await cursor.close();
  const heard = new Promise((resolve) => client.on('notification', (n) => resolve(n.channel + ' ' + n.payload)));
  await client.query('LISTEN news');
  await client.query("NOTIFY news, 'read all about it'");
  console.log('notified', await heard);
  await client.end();

  const pool = new Pool({ connectionString, max: 4 });
  const sums = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.query('SELECT $1::int * 2 AS n', [n])));
  console.log('pool', sums.reduce((sum, r) => sum + r.rows[0].n, 0));
  await pool.end();
}

main(process.argv[2]).catch((e) => {
  console.error(e);
  process.exit(1);
});
