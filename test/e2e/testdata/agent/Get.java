import java.net.URI;
import java.net.http.*;

// A GET with the JDK's own client and its defaults.
class Get {
  public static void main(String[] args) throws Exception {
    var answer = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(args[0])).build(), HttpResponse.BodyHandlers.ofString());
    System.out.println(answer.statusCode());
  }
}
