import java.net.URI;
import java.net.http.*;

/** Reads server-sent events and confirms each before it reads on: java Listen.java URL CONFIRM. */
class Listen {
  public static void main(String[] args) throws Exception {
    var client = HttpClient.newHttpClient();
    var confirm = HttpRequest.newBuilder(URI.create(args[1])).POST(HttpRequest.BodyPublishers.noBody()).build();
    var events = client.send(HttpRequest.newBuilder(URI.create(args[0])).build(), HttpResponse.BodyHandlers.ofLines());
    events.body().filter(line -> line.startsWith("data:")).forEach(line -> {
      System.out.println(line);
      try {
        client.send(confirm, HttpResponse.BodyHandlers.discarding());
      } catch (Exception e) {
        throw new RuntimeException(e);
      }
    });
  }
}
