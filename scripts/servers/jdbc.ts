import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder } from './cache.ts';
import { fetchArtefact } from './mysql-programs.ts';
import { runCommand } from './process.ts';

/** JDBC drivers that tests use: each a folder of jars, as a user would keep them. */
const drivers = {
  h2: ['com.h2database:h2:2.3.232'],
  hsqldb: ['org.hsqldb:hsqldb:2.7.4'],
  derby: ['derby', 'derbyshared', 'derbytools'].map((part) => `org.apache.derby:${part}:10.16.1.1`),
  sqlite: ['org.xerial:sqlite-jdbc:3.49.1.0', 'org.slf4j:slf4j-api:2.0.17'],
  postgres: ['org.postgresql:postgresql:42.7.5'],
  mariadb: ['org.mariadb.jdbc:mariadb-java-client:3.5.3'],
  mysql: ['com.mysql:mysql-connector-j:9.3.0'],
} as const;

export type JdbcDriver = keyof typeof drivers;

/** Folders of jars by driver. Rejects with the reason when there is no Java compiler (the JVM's helper is built from source), or Maven can't bring them. */
export async function jdbcDrivers(): Promise<Record<JdbcDriver, string>> {
  for (const program of ['java', 'javac'])
    await runCommand(program, ['-version']).catch(() => {
      throw new Error(`there is no ${program} on this machine`);
    });
  const folder = await cachedFolder('jdbc-drivers-2', async (draft) => {
    for (const [name, artefacts] of Object.entries(drivers)) {
      await mkdir(join(draft, name));
      for (const artefact of artefacts) {
        const place = join(draft, 'fetched');
        await mkdir(place);
        const jar = await fetchArtefact(artefact, place);
        await rename(jar, join(draft, name, (await readdir(place))[0] as string));
        await rm(place, { recursive: true });
      }
    }
  });
  const names = Object.keys(drivers) as JdbcDriver[];
  return Object.fromEntries(names.map((name) => [name, join(folder, name)])) as Record<JdbcDriver, string>;
}
