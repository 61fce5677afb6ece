using System.Collections.Concurrent;
using System.Globalization;
using NodeAgent.Aws;
using NodeAgent.Imds;

namespace NodeAgent.Tests.Aws;

public sealed class RoleCredentialsTests
{
    [Fact]
    public async Task A_service_renews_its_credentials_however_long_ago_it_began()
    {
        var state = new ImdsState { Paths = { ["iam/security-credentials/worker"] = Answer("ASIAFIRST") } };
        await using var imds = new ImdsServer(() => state);
        await imds.Start();
        var time = new Passing();
        using var role = new RoleCredentials(imds.Endpoint, TimeSpan.FromMinutes(2), time);
        (await role.GetCredentialsAsync()).AccessKey.ShouldBe("ASIAFIRST");

        time.Pass();
        state.Paths["iam/security-credentials/worker"] = Answer("ASIASECOND");

        (await role.GetCredentialsAsync()).AccessKey.ShouldBe("ASIASECOND");
    }

    /// <summary>As good as over, so that they are asked for with each use.</summary>
    private static string Answer(string key)
    {
        var end = DateTimeOffset.UtcNow.AddMinutes(1).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
        return $$"""{"Code":"Success","AccessKeyId":"{{key}}","SecretAccessKey":"made-up","Token":"t","Expiration":"{{end}}"}""";
    }

    /// <summary>Time stands still, until all that waits for it is over.</summary>
    private sealed class Passing : TimeProvider
    {
        private readonly ConcurrentBag<Action> _waiting = [];

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            _waiting.Add(() => callback(state));
            return base.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }

        public void Pass()
        {
            foreach (var over in _waiting)
            {
                over();
            }
        }
    }
}
