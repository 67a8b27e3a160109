<?php
// Asks for each URL, one line each: php get.php curl|stream URL...
[, $way] = $argv;
foreach (array_slice($argv, 2) as $url) {
    if ($way == "curl") {
        $c = curl_init($url);
        curl_setopt($c, CURLOPT_RETURNTRANSFER, true);
        $body = curl_exec($c);
        $status = curl_getinfo($c, CURLINFO_RESPONSE_CODE);
        $body !== false or die(curl_error($c) . "\n");
    } else {
        $body = file_get_contents($url, false, stream_context_create(["http" => ["ignore_errors" => true]]));
        $status = explode(" ", $http_response_header[0])[1];
    }
    $answer = json_decode($body, true);
    echo $status, " ", isset($answer["denied"]) && $answer["denied"] ? $answer["reason"] : "ok", "\n";
}
