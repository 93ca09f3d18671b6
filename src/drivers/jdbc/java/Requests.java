import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Reads requests (a length of 4 bytes, then the payload) in a thread of its own, so that the end of the other side is noticed while a
 * statement runs: the statement is cancelled at the database, then the process ends.
 */
final class Requests {
  private static final int PATIENCE_MS = 1500;

  private final DataInputStream in;
  private final Session session;
  private final BlockingQueue<Request> waiting = new LinkedBlockingQueue<>();

  Requests(InputStream in, Session session) {
    this.in = new DataInputStream(new BufferedInputStream(in));
    this.session = session;
  }

  void start() {
    Thread reader = new Thread(this::read, "requests");
    reader.setDaemon(true);
    reader.start();
  }

  Request next() throws InterruptedException {
    return waiting.take();
  }

  private void read() {
    try {
      for (;;) {
        byte[] payload = new byte[in.readInt()];
        in.readFully(payload);
        waiting.add(new Request(payload));
      }
    } catch (IOException ended) {
      stop();
    }
  }

  private void stop() {
    // A database that does not answer must not keep the process.
    Thread last = new Thread(() -> {
      try {
        Thread.sleep(PATIENCE_MS);
      } catch (InterruptedException early) {
        // It ends all the sooner.
      }
      Runtime.getRuntime().halt(0);
    });
    last.setDaemon(true);
    last.start();
    session.abandon();
    Runtime.getRuntime().halt(0);
  }
}
