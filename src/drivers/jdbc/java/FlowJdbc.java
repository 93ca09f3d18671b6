import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;

/**
 * One JDBC connection as a child process. Requests come on standard input, replies go to standard output (Requests, Replies: the
 * frames). One request is answered before the next one is looked at; the end of standard input, or a request to stop, ends the
 * process whatever it is doing.
 */
public final class FlowJdbc {
  /** As -XX:+ExitOnOutOfMemoryError exits (jvm.ts). */
  private static final int OUT_OF_MEMORY = 3;

  private FlowJdbc() {}

  public static void main(String[] args) {
    Replies replies = new Replies(new FileOutputStream(FileDescriptor.out));
    // Drivers and their loggers print; what they print must not get among the frames.
    System.setOut(System.err);
    Session session = new Session();
    Requests requests = new Requests(System.in, session);
    requests.start();
    try {
      for (;;) serve(requests.next(), session, replies);
    } catch (IOException | InterruptedException gone) {
      Runtime.getRuntime().halt(1);
    }
  }

  private static void serve(Request request, Session session, Replies replies) throws IOException {
    try {
      answer(request, session, replies);
    } catch (IOException gone) {
      throw gone;
    } catch (Refused refused) {
      replies.error(refused.kind, refused);
    } catch (OutOfMemoryError full) {
      // Those that Java code throws by itself don't end the JVM.
      System.err.println(full);
      Runtime.getRuntime().halt(OUT_OF_MEMORY);
    } catch (Throwable failed) {
      replies.error("sql", failed);
    }
    try {
      // A snapshot must not outlive its request: the next one sees what was committed meanwhile.
      session.release();
    } catch (Exception | Error lost) {
      // The answer holds; this connection is of no more use.
      System.err.println(lost);
      Runtime.getRuntime().halt(1);
    }
  }

  private static void answer(Request request, Session session, Replies replies) throws Exception {
    switch (request.operation()) {
      case 'O':
        replies.table(session.open(request));
        return;
      case 'M':
        replies.table(Catalog.ask(session.connection().getMetaData(), request));
        return;
      case 'Q':
        replies.table(Queries.all(session, request));
        return;
      case 'K':
        replies.table(Queries.eachOf(session, request));
        return;
      case 'R':
        Reading.run(session, request, replies);
        return;
      default:
        throw new IllegalArgumentException("unknown request");
    }
  }
}
