using System.Net;
using NodeAgent.Issuer;

namespace NodeAgent.Tests.Issuer;

/// <summary>How an issuer that runs ends, and what it takes from one caller.</summary>
public sealed class IssuerServerTests
{
    private static readonly IssuerLimits Limits = new() { NotFoundYet = TimeSpan.Zero };

    [Fact]
    public async Task What_is_in_work_when_it_is_told_to_stop_is_answered()
    {
        await using var lab = await IssuerLab.Start(Limits);
        var held = new TaskCompletionSource();
        var (node, joining) = await InWork(lab, await lab.Another(), held.Task);

        var stopping = node.Server!.DisposeAsync().AsTask();
        await Gone(node.Server.Address);
        joining.IsCompleted.ShouldBeFalse();
        stopping.IsCompleted.ShouldBeFalse();
        held.SetResult();

        (await joining).Status.ShouldBe(200);
        await stopping;
        lab.Audit.ShouldHaveSingleItem().Decision.ShouldBe("granted");
    }

    [Fact]
    public async Task What_is_not_done_in_that_time_is_cut_and_the_audit_says_so_before_the_issuer_has_stopped()
    {
        await using var lab = await IssuerLab.Start(Limits with { Grace = TimeSpan.FromMilliseconds(300) });
        var held = new TaskCompletionSource();
        var (node, joining) = await InWork(lab, await lab.Another(), held.Task);

        await node.Server!.DisposeAsync();

        lab.Audit.ShouldHaveSingleItem().Code.ShouldBe("cut");
        held.SetResult();
        await Should.ThrowAsync<HttpRequestException>(() => joining);
    }

    [Fact]
    public async Task A_mistake_of_the_issuers_is_told_to_the_audit_alone()
    {
        await using var lab = await IssuerLab.Start(Limits);
        await using var broken = await lab.Another(lab.Settings with { Kinds = null! });
        var node = lab.NewNode();
        node.Server = broken;

        var answer = await node.Join();

        answer.Status.ShouldBe(500);
        answer.Error.Code.ShouldBe("internal");
        answer.Body.ShouldNotContain("Exception");
        lab.Audit.Last().Reason.ShouldNotBeNull().ShouldContain("Exception");
    }

    /// <summary>A request that waits for STS, which answers once <paramref name="until"/> has ended.</summary>
    private static async Task<(Node Node, Task<Answered> Joining)> InWork(IssuerLab lab, IssuerServer server, Task until)
    {
        lab.Aws.Instead = async (_, _) =>
        {
            await until;
            return false;
        };
        var node = lab.NewNode();
        node.Server = server;
        var joining = node.Join();
        await Wait.Until(() => !lab.Aws.Calls.IsEmpty);
        return (node, joining);
    }

    /// <summary>Nobody listens there any more.</summary>
    private static Task Gone(Uri address) => Wait.Until(async () =>
    {
        using var socket = new System.Net.Sockets.TcpClient();
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, address.Port);
            return false;
        }
        catch (System.Net.Sockets.SocketException)
        {
            return true;
        }
    });
}
