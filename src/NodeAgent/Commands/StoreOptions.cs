using System.CommandLine;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Commands;

/// <summary>Where the CAs of a cluster are, and how to get there.</summary>
internal sealed class StoreOptions
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly Option<string> _store = new("--store")
    {
        Description = "Where the CAs are: a bucket, or a directory, which is for laboratories.",
        HelpName = "s3://BUCKET[/PREFIX]|DIR",
        Required = true,
    };

    private readonly Option<string?> _region = new("--region")
    {
        Description = "The bucket's region; AWS_REGION, or the instance's, unless given.",
        HelpName = "REGION",
    };

    private readonly Option<string?> _kmsKey = new("--kms-key")
    {
        Description = "With which S3 encrypts what is made; the account's own for S3 unless given.",
        HelpName = "ID|ALIAS|ARN",
    };

    private readonly Option<Duration> _deadline = CommonOptions.Deadline("2m");
    private string? _regionOfInstance;
    private RoleCredentials? _role;

    /// <param name="writes">Whether the command makes what is not there.</param>
    /// <param name="ends">Whether it is over some time: a service has no deadline, and two minutes to begin.</param>
    public void AddTo(Command command, bool writes = false, bool ends = true)
    {
        command.Add(_store);
        command.Add(_region);
        if (writes)
        {
            command.Add(_kmsKey);
        }

        if (ends)
        {
            command.Add(_deadline);
        }

        command.Validators.Add(result =>
        {
            // One that is missing is told of as that.
            if (result.GetResult(_store) is { Implicit: false } && result.GetValue(_store) is var store
                && (string.IsNullOrEmpty(store) || (store.Contains("://", StringComparison.Ordinal) && !S3Address.TryParse(store, out _))))
            {
                result.AddError($"--store: '{store}' is neither s3://BUCKET[/PREFIX] nor a directory");
            }
        });
    }

    public Task<T> Within<T>(ParseResult parse, Func<CancellationToken, Task<T>> run, CancellationToken stop) => Errors.Within(Deadline(parse), run, stop);

    public async Task<ICaStore> Open(ParseResult parse, CancellationToken cancellation)
    {
        var store = parse.GetValue(_store)!;
        if (!S3Address.TryParse(store, out _))
        {
            return CaStores.InDirectory(Path.GetFullPath(store));
        }

        var region = Region(parse);
        if (region is null)
        {
            using var metadata = new InstanceMetadata(AwsEndpoint.Metadata, Deadline(parse) * 0.9);
            region = _regionOfInstance = await metadata.Text("placement/region", cancellation).ConfigureAwait(false);
        }

        return CaStores.Open(store, region, Credentials(parse), new OutboundHttp(null, []), parse.GetValue(_kmsKey));
    }

    /// <summary>Where the ARN does not say the region, it is that of the store.</summary>
    public Func<string?, KmsKeys> Kms(ParseResult parse) => CaStores.Kms(
        () => Region(parse) ?? throw new CaException("a key of KMS by its alias is one of a region: give --region, or the key's ARN"),
        Credentials(parse),
        new OutboundHttp(null, []));

    private TimeSpan Deadline(ParseResult parse) => parse.GetResult(_deadline) is null ? Patience : parse.GetValue(_deadline).Value;

    private string? Region(ParseResult parse) =>
        parse.GetValue(_region) ?? HostEnvironment.Get("AWS_REGION") ?? HostEnvironment.Get("AWS_DEFAULT_REGION")
        ?? _regionOfInstance;

    /// <summary>An administrator's from the environment, as 'aws configure export-credentials --format env' gives them; else the instance's role.</summary>
    private AWSCredentials Credentials(ParseResult parse) =>
        (HostEnvironment.Get("AWS_ACCESS_KEY_ID"), HostEnvironment.Get("AWS_SECRET_ACCESS_KEY"), HostEnvironment.Get("AWS_SESSION_TOKEN")) switch
        {
            ({ } id, { } secret, { } token) => new SessionAWSCredentials(id, secret, token),
            ({ } id, { } secret, null) => new BasicAWSCredentials(id, secret),
            // A service opens its store again and again.
            _ => _role ??= new RoleCredentials(AwsEndpoint.Metadata, Deadline(parse) * 0.9),
        };
}
