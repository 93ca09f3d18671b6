import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder, climb } from './cache.ts';
import { freePort, portAnswers, runCommand, startProgram, waitUntilReady } from './process.ts';
import { makeRunFolder, makeServer, type Server } from './server.ts';

/**
 * mongo-java-server, a MongoDB in memory that others wrote (https://github.com/bwaldvogel/mongo-java-server): collections, queries and types, but no
 * replica set, sessions, users or whole change streams. Needs Java and Maven.
 */
export async function startJavaMongo(): Promise<Server> {
  const programs = await climb('mongo-java-server', [['Maven artefact', fetchPrograms]]);
  const folder = await makeRunFolder('mongodb');
  const log = join(folder, 'server.log');
  const port = await freePort();
  const launch = async () => {
    const program = startProgram('java', ['-cp', join(programs, 'jars/*'), join(programs, 'Main.java'), String(port)], {
      log,
      orphanFolder: folder,
    });
    await waitUntilReady('mongo-java-server', program, log, () => portAnswers(port));
    return program;
  };
  const info = { host: '127.0.0.1', port, user: '', password: '', dataDir: folder };
  return makeServer(info, launch, () => rm(folder, { recursive: true, force: true }));
}

function fetchPrograms(): Promise<string> {
  return cachedFolder('mongo-java-server-1.47.0', async (draft) => {
    await writeFile(join(draft, 'pom.xml'), POM);
    const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
    await runCommand('mvn', ['-B', '-q', plugin, `-DoutputDirectory=${join(draft, 'jars')}`], { cwd: draft });
    await writeFile(join(draft, 'Main.java'), MAIN);
  });
}

const POM = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId>
  <artifactId>test</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>de.bwaldvogel</groupId>
      <artifactId>mongo-java-server</artifactId>
      <version>1.47.0</version>
    </dependency>
  </dependencies>
</project>
`;

// Says that it speaks the protocol of MongoDB 5.0, which the client library asks for and the commands used here need no more than.
const MAIN = `import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.ServerVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;

class Main {
  public static void main(String[] args) throws Exception {
    var wire = ServerVersion.class.getDeclaredField("wireVersion");
    wire.setAccessible(true);
    wire.setInt(ServerVersion.MONGO_5_0, 13);
    var backend = new MemoryBackend();
    backend.version(ServerVersion.MONGO_5_0);
    new MongoServer(backend).bind("127.0.0.1", Integer.parseInt(args[0]));
    Thread.currentThread().join();
  }
}
`;
