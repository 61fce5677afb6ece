using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Tests.Machine;

namespace NodeAgent.Tests.Aws;

/// <summary>A directory for a cluster's CAs, and a KMS for their keys.</summary>
public abstract class CaStoreBesideKms : IAsyncLifetime
{
    private protected readonly FakeKms _kms = new();
    private protected readonly TemporaryDirectory _directory = new();

    public Task InitializeAsync() => _kms.Start();

    public async Task DisposeAsync()
    {
        _directory.Dispose();
        await _kms.DisposeAsync();
    }

    private protected KmsKeys Kms(string? region) => Kms(region, new Hurried());

    private protected KmsKeys Kms(string? region, TimeProvider time)
    {
        region.ShouldBe("eu-central-1");
        return new(region!, _kms.Endpoint, new BasicAWSCredentials("AKIDEXAMPLE", "secret"), new OutboundHttp(null, []), time);
    }
}
