using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Issuer;

/// <summary>The issuer's own certificate, by a wall clock that jumps.</summary>
public sealed class ServerIdentityTests : IDisposable
{
    private static readonly DateTimeOffset Start = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    private readonly Wall _wall = new() { Now = Start };
    private readonly Moody _signer;
    private readonly List<string> _said = [];

    public ServerIdentityTests() => _signer = new Moody(TestAuthority.Make(from: Start.AddMonths(-6)), _wall);

    public void Dispose() => _signer.Dispose();

    [Theory]
    [InlineData(-30, true)]
    [InlineData(30, true)]
    [InlineData(5, true)]
    [InlineData(4, false)]
    [InlineData(0, false)]
    public async Task A_minute_after_the_clock_jumped_the_certificate_is_good_again(int days, bool renewed)
    {
        using var identity = await Issue();
        var first = identity.Current();
        _wall.Now += TimeSpan.FromDays(days);

        _wall.Minute();

        identity.IsInTime.ShouldBeTrue();
        ReferenceEquals(identity.Current(), first).ShouldBe(!renewed);
        _said.ShouldBeEmpty();
    }

    [Fact]
    public async Task Between_two_looks_it_says_that_it_is_out_of_time()
    {
        using var identity = await Issue();

        _wall.Now = Start.AddDays(-1);
        identity.IsInTime.ShouldBeFalse();
        _wall.Now = Start.AddDays(7);
        identity.IsInTime.ShouldBeFalse();
    }

    [Fact]
    public async Task What_cannot_be_renewed_is_said_once_for_each_cause_and_tried_each_minute()
    {
        using var identity = await Issue();
        _wall.Now += TimeSpan.FromDays(6);
        _signer.Mood = "KMS is away";
        _wall.Minute();
        _wall.Minute();
        _said.ShouldHaveSingleItem().ShouldContain("KMS is away");
        _signer.Mood = "KMS says no";
        _wall.Minute();
        _said.Count.ShouldBe(2);
        _said[1].ShouldContain("KMS says no");

        _signer.Mood = null;
        _wall.Minute();

        identity.NotAfter.ShouldBe(Start.AddDays(13));
        _said.Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_signer_that_failed_a_node_is_tried_without_one()
    {
        var watched = new WatchedSigner(_signer);
        using var identity = await ServerIdentity.Issue(watched, _wall, _said.Add, CancellationToken.None);
        _signer.Mood = "KMS is away";
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await Should.ThrowAsync<CryptographicException>(
            async () => await watched.Sign(new PublicKey(key), RoleTable.IssuerServing, TimeSpan.FromHours(1), CancellationToken.None));
        watched.Flaw.ShouldBe("KMS is away");

        _wall.Minute();
        watched.Flaw.ShouldBe("KMS is away");
        _signer.Mood = null;
        _wall.Minute();

        watched.Flaw.ShouldBeNull();
    }

    private Task<ServerIdentity> Issue() => ServerIdentity.Issue(new WatchedSigner(_signer), _wall, _said.Add, CancellationToken.None);

    /// <summary>Signs, or fails for that reason.</summary>
    private sealed class Moody(TestAuthority authority, TimeProvider time) : ICertificateSigner
    {
        private readonly FileSigner _inner = new(authority.CertificatePem, authority.KeyPem, time);

        public string? Mood { get; set; }

        public byte[] Authority => _inner.Authority;

        public ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation) =>
            Mood is null ? _inner.Sign(key, content, lifetime, cancellation) : throw new CryptographicException(Mood);

        public ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation) => _inner.SharedKey(purpose, cancellation);

        public void Dispose() => _inner.Dispose();
    }

    /// <summary>A wall clock that is set, and timers that go off when a minute passes.</summary>
    private sealed class Wall : TimeProvider
    {
        private readonly List<Timer> _timers = [];

        public DateTimeOffset Now { get; set; }

        public override DateTimeOffset GetUtcNow() => Now;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            // Those that wait for longer would not go off.
            dueTime.ShouldBeLessThanOrEqualTo(TimeSpan.FromMinutes(1));
            period.ShouldBeLessThanOrEqualTo(TimeSpan.FromMinutes(1));
            var timer = new Timer(() => callback(state));
            _timers.Add(timer);
            return timer;
        }

        public void Minute() => _timers.ForEach(t => t.Ring());

        private sealed class Timer(Action ring) : ITimer
        {
            public void Ring() => ring();

            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
