# Net::SMTP: arguments port, sender, recipients; the message on standard input.
use strict;
use warnings;
use Net::SMTP;

my ($port, $sender, @recipients) = @ARGV;
binmode STDIN;
my @lines = <STDIN>;
my $client = Net::SMTP->new('127.0.0.1', Port => $port, Timeout => 30) or die "no greeting: $@\n";

sub refused { die $client->code . ' ' . $client->message }

$client->mail($sender, Bits => 8) or refused;
foreach my $recipient (@recipients) { $client->to($recipient) or refused }
$client->data() or refused;
$client->datasend(\@lines) or refused;
$client->dataend() or refused;
$client->quit;
