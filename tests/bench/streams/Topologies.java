import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** The works, in the DSL and as its guide writes them. Topics: input, output, and the table of a join. */
final class Topologies {
  private static final Serde<byte[]> BYTES = Serdes.ByteArray();

  private Topologies() {}

  static StreamsBuilder of(String work, String[] topics) {
    StreamsBuilder builder = new StreamsBuilder();
    KStream<byte[], byte[]> input = builder.stream(topics[0], Consumed.with(BYTES, BYTES));
    Produced<byte[], byte[]> output = Produced.with(BYTES, BYTES);
    switch (work) {
      case "forward" -> input.to(topics[1], output);
      case "strip" -> input.mapValues(Orders::strip).to(topics[1], output);
      case "count" -> count(input, topics[1]);
      case "join" -> join(builder, input, topics[2]).to(topics[1], output);
      default -> throw new IllegalArgumentException("no work " + work);
    }
    return builder;
  }

  /** The store is RocksDB with the defaults of Kafka Streams; the settings say whether it has a cache before it. */
  private static void count(KStream<byte[], byte[]> input, String output) {
    Materialized<byte[], Long, KeyValueStore<Bytes, byte[]>> counts = Materialized.as("counts");
    input
        .groupByKey(Grouped.with(BYTES, BYTES))
        .count(counts.withKeySerde(BYTES).withValueSerde(Serdes.Long()))
        .toStream()
        .to(output, Produced.with(BYTES, Serdes.Long()));
  }

  /** The table is whole on each instance and in memory, as Sandbar's are. */
  private static KStream<byte[], byte[]> join(
      StreamsBuilder builder, KStream<byte[], byte[]> input, String table) {
    Materialized<byte[], byte[], KeyValueStore<Bytes, byte[]>> rows =
        Materialized.as(Stores.inMemoryKeyValueStore("customers"));
    GlobalKTable<byte[], byte[]> customers =
        builder.globalTable(
            table, Consumed.with(BYTES, BYTES), rows.withCachingDisabled());
    return input.join(customers, (key, order) -> key, Orders::join);
  }
}
