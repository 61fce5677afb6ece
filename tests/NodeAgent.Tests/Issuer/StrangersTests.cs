using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using System.Threading.Channels;
using NodeAgent.Issuer;

namespace NodeAgent.Tests.Issuer;

/// <summary>What strangers can have written into the audit, and what they cannot keep out of it.</summary>
public sealed class StrangersTests
{
    private static readonly IPAddress Somebody = IPAddress.Parse("10.0.0.1");

    private readonly List<AuditEntry> _lines = [];
    private bool _hasRoom = true;

    [Fact]
    public void Of_each_address_some_lines_are_written_and_then_one_for_the_rest()
    {
        using var strangers = New();
        for (var i = 0; i < 1000; i++)
        {
            strangers.Write(Somebody, Entry());
        }

        strangers.Write(IPAddress.Parse("10.0.0.2"), Entry());
        _lines.Count.ShouldBe(11);
        strangers.Close();

        _lines.Count.ShouldBe(12);
        (_lines[^1].Code, _lines[^1].LeftOut, _lines[^1].Remote).ShouldBe(("left-out", 990, "10.0.0.1"));
        strangers.Lost.ShouldBe(990);
        strangers.Write(Somebody, Entry());
        _lines.Count.ShouldBe(13);
    }

    [Fact]
    public void What_is_left_out_when_the_issuer_ends_is_told_as_well()
    {
        using (var strangers = New())
        {
            for (var i = 0; i < 12; i++)
            {
                strangers.Write(Somebody, Entry());
            }
        }

        _lines[^1].LeftOut.ShouldBe(2);
    }

    [Fact]
    public void A_line_for_which_there_is_no_room_is_counted()
    {
        using var strangers = New();
        _hasRoom = false;

        strangers.Write(Somebody, Entry());

        strangers.Lost.ShouldBe(1);
    }

    [Fact]
    public void Addresses_without_end_share_one_account()
    {
        using var strangers = New();
        for (var i = 0; i < 10_000; i++)
        {
            strangers.Write(new IPAddress(0x0a000000 + (i << 8)), Entry());
        }

        _lines.Count.ShouldBe(4096 + 10);
        strangers.Close();
        _lines[^1].Remote.ShouldBe("others");
    }

    [Fact]
    public async Task A_refusal_ends_the_connection_so_that_no_more_of_them_come_through_it()
    {
        await using var lab = await IssuerLab.Start();

        var answers = await Pipelined(lab.Server, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 50);

        answers.Split("HTTP/1.1 404").Length.ShouldBe(2);
        answers.ShouldContain("Connection: close");
        lab.Audit.Count.ShouldBe(1);
    }

    [Fact]
    public async Task Strangers_do_not_keep_a_node_out_of_the_audit()
    {
        await using var lab = await IssuerLab.Start();
        for (var i = 0; i < 20; i++)
        {
            await Pipelined(lab.Server, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 1);
        }

        var node = lab.NewNode();
        (await node.Join()).Status.ShouldBe(200);
        var other = lab.NewNode(i => i with { State = "stopping" });
        (await other.Join()).Status.ShouldBe(403);

        lab.Audit.Count(a => a.Code == "no-such-thing").ShouldBe(10);
        lab.Audit.Count(a => a.Decision == "granted").ShouldBe(1);
        lab.Audit.Count(a => a.Code == "instance" && a.Instance == other.Instance.Id).ShouldBe(1);
    }

    [Fact]
    public async Task Nothing_is_granted_before_the_audit_has_taken_it()
    {
        await using var lab = await IssuerLab.Start();
        var audit = Channel.CreateBounded<AuditEntry>(1);
        audit.Writer.TryWrite(Entry()).ShouldBeTrue();
        await using var server = await lab.Another(audit: audit.Writer);
        // Nobody waits for strangers' lines.
        await Pipelined(server, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 1);
        var node = lab.NewNode();
        node.Server = server;

        var joining = node.Join();
        await Wait.Until(() => lab.Aws.Calls.Count >= 2);
        joining.IsCompleted.ShouldBeFalse();
        (await audit.Reader.ReadAsync()).Code.ShouldBe("malformed");
        (await joining).Status.ShouldBe(200);
        (await audit.Reader.ReadAsync()).Decision.ShouldBe("granted");
    }

    private Strangers New() => new(new IssuerLimits(), TimeProvider.System, entry =>
    {
        _lines.Add(entry);
        return _hasRoom;
    });

    private static AuditEntry Entry() => new() { At = DateTimeOffset.UtcNow, Decision = "refused", Code = "malformed", Remote = "10.0.0.1:4711" };

    /// <summary>The same request many times in one go, and all that comes back.</summary>
    private static async Task<string> Pipelined(IssuerServer server, string request, int times)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, server.Address.Port);
        await using var tls = new SslStream(socket.GetStream());
#pragma warning disable CA5359 // An attacker does not mind whom it attacks.
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = "a", RemoteCertificateValidationCallback = (_, _, _, _) => true });
#pragma warning restore CA5359
        await tls.WriteAsync(Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(request, times))));
        var answer = new MemoryStream();
        try
        {
            await tls.CopyToAsync(answer);
        }
        catch (IOException)
        {
            // Closed with requests unread.
        }

        return Encoding.ASCII.GetString(answer.ToArray());
    }
}
