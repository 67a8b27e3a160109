# Asks with HTTP::Tiny for each URL, one line each: perl get.pl URL...
use HTTP::Tiny;
use JSON::PP;

for my $url (@ARGV) {
    my $r = HTTP::Tiny->new(verify_SSL => 1)->get($url);
    my $answer = eval { decode_json($r->{content}) } || {};
    print "$r->{status} ", ($answer->{denied} ? $answer->{reason} : "ok"), "\n";
}
