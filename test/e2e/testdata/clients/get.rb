# Asks with Net::HTTP for each URL, one line each: ruby get.rb URL...
require "json"
require "net/http"

ARGV.each do |url|
  r = Net::HTTP.get_response(URI(url))
  answer = JSON.parse(r.body) rescue {}
  puts "#{r.code} #{answer["denied"] ? answer["reason"] : "ok"}"
end
