import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/** Asks once and says the outcome: exit 0 if everything written so far is durable. */
public class Barrier {
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    static void barrier() throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(System.getenv("METAMASTER_URL") + "/v1/barrier?timeoutSeconds=30"))
            .timeout(Duration.ofSeconds(40))
            .POST(HttpRequest.BodyPublishers.noBody())
            .build();
        var answer = CLIENT.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) { // don't acknowledge
            throw new IOException("barrier: " + answer.statusCode() + ": " + answer.body());
        }
    }

    public static void main(String[] arguments) throws Exception {
        try {
            barrier();
        } catch (IOException error) {
            System.err.println(error);
            System.exit(1);
        }
        System.out.println("durable");
    }
}
