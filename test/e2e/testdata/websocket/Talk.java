import java.net.URI;
import java.net.http.*;
import java.nio.ByteBuffer;
import java.util.concurrent.*;

/** Talks with the JDK's own client: java Talk.java (URL DENIED)... */
class Talk {
  public static void main(String[] args) throws Exception {
    for (int i = 0; i < args.length; i += 2) talk(args[i], args[i + 1]);
    System.exit(0);
  }

  static void talk(String url, String denied) throws Exception {
    var got = new LinkedBlockingQueue<String>();
    var ws = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(url), new WebSocket.Listener() {
      final StringBuilder text = new StringBuilder();
      int bytes, sum;
      public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
        text.append(data);
        if (last) { got.add(text.toString()); text.setLength(0); }
        ws.request(1);
        return null;
      }
      public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer data, boolean last) {
        for (bytes += data.remaining(); data.hasRemaining(); ) sum = sum * 31 + data.get();
        if (last) got.add(bytes + " " + sum);
        ws.request(1);
        return null;
      }
      public CompletionStage<?> onPong(WebSocket ws, ByteBuffer data) {
        got.add(new String(data.array(), data.arrayOffset() + data.position(), data.remaining()));
        ws.request(1);
        return null;
      }
      public CompletionStage<?> onClose(WebSocket ws, int code, String why) { got.add(code + " " + why); return null; }
      public void onError(WebSocket ws, Throwable e) { got.add(e.toString()); }
    }).join();
    ws.sendText("grüße", true).join();
    System.out.println("text " + got.take().equals("grüße"));
    var noise = new byte[70_000];
    int sum = 0;
    for (int i = 0; i < noise.length; i++) { noise[i] = (byte) (i * i >> 3); sum = sum * 31 + noise[i]; }
    ws.sendBinary(ByteBuffer.wrap(noise), true).join();
    System.out.println("binary " + got.take().equals(noise.length + " " + sum));
    var big = "large message ".repeat(400_000);
    ws.sendText(big, true).join();
    System.out.println("large " + got.take().equals(big));
    ws.sendText("in ", false).join();
    ws.sendText("two", true).join();
    System.out.println("fragments " + got.take());
    ws.sendPing(ByteBuffer.wrap("mine".getBytes())).join();
    System.out.println("ping " + got.take());
    ws.sendText("ping", true).join();
    System.out.println("server's ping " + got.take());
    ws.sendText("close", true).join();
    System.out.println("close " + got.take());
    try {
      HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(denied), new WebSocket.Listener() {}).join();
    } catch (CompletionException e) {
      var no = (WebSocketHandshakeException) e.getCause();
      System.out.println("denied " + no.getResponse().statusCode());
    }
  }
}
