import java.net.*;

/** Asks with URLConnection for each URL, one line each: java GetURL.java URL... */
class GetURL {
  public static void main(String[] args) throws Exception {
    for (String url : args) {
      var c = (HttpURLConnection) URI.create(url).toURL().openConnection();
      int status = c.getResponseCode();
      try (var in = status < 400 ? c.getInputStream() : c.getErrorStream()) {
        var body = new String(in.readAllBytes());
        var denied = "{\"denied\":true,\"reason\":\"";
        System.out.println(status + " " + (body.startsWith(denied) ? body.substring(denied.length()).split("\"")[0] : "ok"));
      }
    }
  }
}
