import { randomUUID } from 'node:crypto';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { compareTables, describeDifferences } from '../../scripts/compare.ts';

const name = `compare_${randomUUID().slice(0, 8)}`;
const address = (info: { host: string; port: number; user: string; password: string }) => ({
  host: info.host,
  port: info.port,
  user: info.user,
  password: info.password,
});
const source = address(inject('postgres15'));
const destination = address(inject('destination'));
const pair = (table: string) => ({
  source: { schema: name, name: table },
  destination: { schema: name, name: table },
});

let postgres: pg.Client;
let mariadb: mysql.Connection;

beforeAll(async () => {
  postgres = new pg.Client({ ...source, database: 'postgres' });
  await postgres.connect();
  mariadb = await mysql.createConnection({ ...destination, charset: 'utf8mb4', multipleStatements: true });
  await postgres.query(`create schema ${name}`);
  await mariadb.query(`create database ${name} character set utf8mb4`);
});

afterAll(async () => {
  await postgres.query(`drop schema ${name} cascade`);
  await mariadb.query(`drop database ${name}`);
  await postgres.end();
  await mariadb.end();
});

const compare = async (table: string) => {
  const side = { kind: 'postgres', database: 'postgres', ...source } as const;
  const [result] = await compareTables(side, destination, [pair(table)]);
  if (result === undefined) throw new Error('no result');
  return { ...result, lines: describeDifferences(result) };
};

test('equal copies are equal, whatever the column types print', async () => {
  await postgres.query(`create table ${name}.same (k text primary key, n numeric, f real, d double precision, b bytea,
    t timestamptz, l timestamp, j jsonb, a int[], e bool, c char(5), m money, x bit(4), day date)`);
  await postgres.query(`insert into ${name}.same values
    ('a', 1.50, 0.1, 0.1, '\\x00ff', '2020-01-01 00:00:00+02', 'infinity', '{"b":1,"a":2.0}', '{1,null}', true, 'x', 1234.5, '1010', 'infinity'),
    ('Ä', 'NaN', 'Infinity', 1e300, '', null, '0044-01-01 BC', '[]', '{}', false, '', -1, '0000', '0001-02-03'),
    ('😀', null, null, null, null, null, null, null, null, null, null, null, null, null)`);
  await mariadb.query(`create table ${name}.same (k varchar(50) collate utf8mb4_bin primary key, n decimal(65,30), f float, d double,
    b longblob, t datetime(6), l datetime(6), j json, a json, e tinyint, c char(5), m decimal(20,2), x bigint unsigned, day date)`);
  await mariadb.query(`insert into ${name}.same values
    ('😀', null, null, null, null, null, null, null, null, null, null, null, null, null),
    ('a', 1.5, 0.1, 0.1, x'00ff', '2019-12-31 22:00:00', '9999-12-31 23:59:59.999999', '{"a": 2.0, "b": 1}', '[1, null]', 1, 'x', 1234.5, 10, '9999-12-31'),
    ('Ä', null, null, 1e300, '', null, '1000-01-01', '[]', '[]', 0, '', -1, 0, '1001-02-03')`);
  expect(await compare('same')).toMatchObject({ sourceRows: 3, destinationRows: 3, differences: 0, lines: [] });
});

test('each kind of difference is found and named', async () => {
  await postgres.query(`create table ${name}.other (a int, b text, v text, primary key (a, b))`);
  await postgres.query(
    `insert into ${name}.other values (1, 'x', ''), (2, 'x', 'é'), (10, 'x', 'gone'), (11, 'x', 'same')`,
  );
  await mariadb.query(`create table ${name}.other (a int, b varchar(9) collate utf8mb4_bin, v text, primary key (a, b));
    insert into ${name}.other values (1, 'x', null), (2, 'x', 'e'), (9, 'x', 'extra'), (11, 'x', 'same')`);
  const result = await compare('other');
  expect(result).toMatchObject({ sourceRows: 4, destinationRows: 4, differences: 4 });
  expect(result.lines).toEqual([
    'a=1, b=x: v is "" at the source, NULL at the destination',
    'a=2, b=x: v is "é" at the source, "e" at the destination',
    'a=9, b=x: only at the destination',
    'a=10, b=x: only at the source',
  ]);
});

test('tables without a key are compared as bags', async () => {
  await postgres.query(`create table ${name}.bag (v text); insert into ${name}.bag values ('a'), ('a'), ('b'), (null)`);
  await mariadb.query(`create table ${name}.bag (v text); insert into ${name}.bag values ('a'), ('b'), ('b'), (null)`);
  expect((await compare('bag')).differences).toBe(2);
});

test('a column that was not copied is an error', async () => {
  await postgres.query(`create table ${name}.less (k int primary key, v text)`);
  await mariadb.query(`create table ${name}.less (k int primary key)`);
  await expect(compare('less')).rejects.toThrow('less has no column v');
});
