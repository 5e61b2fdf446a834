import java.io.FileReader;
import java.io.Reader;
import java.util.Properties;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/**
 * A rival of Sandbar in `make bench`: Kafka Streams with one of the {@link Topologies}. It runs until it is killed.
 *
 * <p>All settings come from the file of properties; src/streams.rs writes it, and says why.
 */
final class Rival {
  private Rival() {}

  public static void main(String[] args) throws Exception {
    Properties settings = new Properties();
    try (Reader file = new FileReader(args[1])) {
      settings.load(file);
    }
    String[] topics = java.util.Arrays.copyOfRange(args, 2, args.length);
    KafkaStreams streams =
        new KafkaStreams(Topologies.of(args[0], topics).build(settings), new StreamsConfig(settings));
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
          return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    Thread.currentThread().join();
  }
}
