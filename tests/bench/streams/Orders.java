import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;

/**
 * The works on an order, with Jackson's streaming reader and writer, which are its fastest: no tree and no reflection.
 * They read and check the same fields as the native loop (src/job.rs) and the modules.
 */
final class Orders {
  private static final JsonFactory JSON = new JsonFactory();

  private long id;
  private long customerId;
  private String status;
  private String currency;
  private long totalCents;
  private long createdAtMs;
  private int found;

  private Orders() {}

  /** Six fields of an order. */
  static byte[] strip(byte[] order) {
    Orders fields = new Orders();
    ByteArrayOutputStream out = new ByteArrayOutputStream(256);
    try {
      fields.readOrder(order);
      if (fields.found != 6) throw new IOException("a field is missing");
      try (JsonGenerator json = JSON.createGenerator(out)) {
        json.writeStartObject();
        json.writeNumberField("id", fields.id);
        json.writeNumberField("customer_id", fields.customerId);
        json.writeStringField("status", fields.status);
        json.writeStringField("currency", fields.currency);
        json.writeNumberField("total_cents", fields.totalCents);
        json.writeNumberField("created_at_ms", fields.createdAtMs);
        json.writeEndObject();
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return out.toByteArray();
  }

  private void readOrder(byte[] order) throws IOException {
    try (JsonParser json = JSON.createParser(order)) {
      json.nextToken();
      for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
        json.nextToken();
        found++;
        switch (name) {
          case "id" -> id = json.getLongValue();
          case "customer" -> customerId = readCustomerId(json);
          case "status" -> status = json.getText();
          case "currency" -> currency = json.getText();
          case "total_cents" -> totalCents = json.getLongValue();
          case "created_at_ms" -> createdAtMs = json.getLongValue();
          default -> {
            json.skipChildren();
            found--;
          }
        }
      }
    }
  }

  private static long readCustomerId(JsonParser json) throws IOException {
    long id = -1;
    for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
      json.nextToken();
      if (name.equals("id")) id = json.getLongValue();
      else json.skipChildren();
    }
    return id;
  }

  /** An order's id and sum with its customer's name and tier. */
  static byte[] join(byte[] order, byte[] customer) {
    Orders fields = new Orders();
    ByteArrayOutputStream out = new ByteArrayOutputStream(256);
    try (JsonParser row = JSON.createParser(customer)) {
      fields.readOrder(order);
      String customerName = null;
      String tier = null;
      row.nextToken();
      for (String name = row.nextFieldName(); name != null; name = row.nextFieldName()) {
        row.nextToken();
        switch (name) {
          case "name" -> customerName = row.getText();
          case "tier" -> tier = row.getText();
          default -> row.skipChildren();
        }
      }
      try (JsonGenerator json = JSON.createGenerator(out)) {
        json.writeStartObject();
        json.writeNumberField("id", fields.id);
        json.writeStringField("customer", customerName);
        json.writeStringField("tier", tier);
        json.writeNumberField("total_cents", fields.totalCents);
        json.writeEndObject();
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return out.toByteArray();
  }
}
