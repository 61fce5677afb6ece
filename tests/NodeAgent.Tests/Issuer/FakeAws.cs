using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;

namespace NodeAgent.Tests.Issuer;

/// <summary>STS that checks SigV4 by a code of its own, and EC2's DescribeInstances with its filters, both as their API references write them.</summary>
internal sealed class FakeAws : FakeServer
{
    /// <summary>By access key.</summary>
    public ConcurrentDictionary<string, FakeCredentials> Credentials { get; } = new();

    public ConcurrentDictionary<string, FakeInstance> Instances { get; } = new();

    /// <summary>As EC2 described instances on a page before: they are listed a second time, first.</summary>
    public ConcurrentQueue<FakeInstance> PageBefore { get; } = new();

    public TimeSpan Delay { get; set; }

    /// <summary>Answers instead, where it returns true.</summary>
    public Func<HttpContext, string, Task<bool>>? Instead { get; set; }

    /// <summary>Action and Filter.1.Value count of each call.</summary>
    public ConcurrentQueue<(string Action, int Values)> Calls { get; } = new();

    protected override async Task Answer(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        var form = QueryHelpers.ParseQuery(Encoding.UTF8.GetString(body.ToArray()));
        var action = form["Action"].ToString();
        var values = form.Where(f => f.Key.StartsWith("Filter.1.Value.", StringComparison.Ordinal)).Select(f => f.Value.ToString()).ToHashSet();
        Calls.Enqueue((action, values.Count));
        if (Delay > TimeSpan.Zero)
        {
            await Task.Delay(Delay);
        }

        if (Instead is { } instead && await instead(context, action))
        {
            return;
        }

        switch (action)
        {
            case "GetCallerIdentity" when context.Request.Path == "/":
                var (status, answer) = Identify(context.Request, body.ToArray());
                await Write(context, status, answer);
                break;
            case "DescribeInstances":
                await Write(context, 200, Describe(form["Filter.1.Name"].ToString(), values));
                break;
            default:
                await Write(context, 400, "<ErrorResponse><Error><Code>InvalidAction</Code><Message>no</Message></Error></ErrorResponse>");
                break;
        }
    }

    private (int Status, string Answer) Identify(HttpRequest request, byte[] body)
    {
        var authorization = request.Headers.Authorization.ToString();
        var parts = authorization["AWS4-HMAC-SHA256 ".Length..].Split(',').Select(p => p.Trim().Split('=', 2)).ToDictionary(p => p[0], p => p[1]);
        var scope = parts["Credential"].Split('/');
        if (!Credentials.TryGetValue(scope[0], out var known) || request.Headers["X-Amz-Security-Token"] != known.Token)
        {
            return (403, Error("InvalidClientTokenId", "The security token included in the request is invalid."));
        }

        // https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
        var signed = parts["SignedHeaders"].Split(';');
        var canonical = new StringBuilder($"{request.Method}\n{request.Path}\n{request.QueryString.Value?.TrimStart('?')}\n");
        foreach (var header in signed)
        {
            canonical.Append(header).Append(':').Append(string.Join(',', request.Headers[header].Select(v => v!.Trim()))).Append('\n');
        }

        canonical.Append('\n').Append(parts["SignedHeaders"]).Append('\n').Append(Hex(SHA256.HashData(body)));
        var date = request.Headers["X-Amz-Date"].ToString();
        var toSign = $"AWS4-HMAC-SHA256\n{date}\n{string.Join('/', scope[1..])}\n{Hex(SHA256.HashData(Encoding.UTF8.GetBytes(canonical.ToString())))}";
        var key = scope[1..].Aggregate(Encoding.UTF8.GetBytes("AWS4" + known.Secret), (k, part) => HMACSHA256.HashData(k, Encoding.UTF8.GetBytes(part)));
        return Hex(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(toSign))) == parts["Signature"]
            ? (200, Identity(known.Account, known.Arn, known.UserId))
            : (403, Error("SignatureDoesNotMatch", $"The Canonical String for this request should have been '{canonical}'"));
    }

    public static string Identity(string account, string arn, string user) => $"""
        <GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
          <GetCallerIdentityResult>
            <Arn>{arn}</Arn>
            <UserId>{user}</UserId>
            <Account>{account}</Account>
          </GetCallerIdentityResult>
          <ResponseMetadata>
            <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
          </ResponseMetadata>
        </GetCallerIdentityResponse>
        """;

    private static string Error(string code, string message) => $"""
        <ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{WebUtility.HtmlEncode(message)}</Message></Error><RequestId>c</RequestId></ErrorResponse>
        """;

    private string Describe(string filter, HashSet<string> values)
    {
        var found = PageBefore.Concat(Instances.Values).Where(i => values.Contains(filter switch
        {
            "instance-id" => i.Id,
            "private-dns-name" => i.PrivateDnsName,
            _ => throw new InvalidOperationException(filter),
        }));
        var text = new StringBuilder("""<?xml version="1.0" encoding="UTF-8"?><DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><reservationSet>""");
        foreach (var i in found)
        {
            text.Append(CultureInfo.InvariantCulture, $"""
                <item><reservationId>r-1</reservationId><instancesSet><item><instanceId>{i.Id}</instanceId><instanceState><code>16</code><name>{i.State}</name></instanceState>
                <privateDnsName>{i.PrivateDnsName}</privateDnsName><launchTime>{i.Launched:yyyy-MM-ddTHH:mm:ss.000Z}</launchTime><placement><availabilityZone>eu-central-1a</availabilityZone></placement>
                <privateIpAddress>{i.Address}</privateIpAddress><vpcId>{i.Vpc}</vpcId><groupSet><item><groupId>sg-1</groupId></item></groupSet>
                {(i.Profile is null ? "" : $"<iamInstanceProfile><arn>{i.Profile}</arn><id>AIPA</id></iamInstanceProfile>")}
                <networkInterfaceSet><item><vpcId>vpc-of-an-interface</vpcId><privateIpAddress>10.9.9.9</privateIpAddress><privateDnsName>an-interface</privateDnsName>
                <tagSet><item><key>nodeagent:role</key><value>of-an-interface</value></item></tagSet></item></networkInterfaceSet><tagSet>
                """);
            foreach (var (key, value) in i.Tags)
            {
                text.Append(CultureInfo.InvariantCulture, $"<item><key>{key}</key><value>{value}</value></item>");
            }

            text.Append("</tagSet></item></instancesSet></item>");
        }

        return text.Append("</reservationSet></DescribeInstancesResponse>").ToString();
    }

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);
}

internal sealed record FakeCredentials(string AccessKey, string Secret, string Token, string Account, string Arn, string UserId);

internal sealed record FakeInstance(string Id)
{
    public string State { get; init; } = "running";

    public string Vpc { get; init; } = IssuerLab.Vpc;

    public string PrivateDnsName { get; init; } = "";

    public string Address { get; init; } = "";

    public DateTimeOffset Launched { get; init; } = DateTimeOffset.UtcNow.AddMinutes(-5);

    public string? Profile { get; init; } = $"arn:aws:iam::{IssuerLab.Account}:instance-profile/nodes/{IssuerLab.WorkerRole}";

    public IReadOnlyDictionary<string, string> Tags { get; init; } =
        new Dictionary<string, string> { ["nodeagent:cluster"] = IssuerLab.Cluster, ["nodeagent:role"] = "worker", ["Name"] = "a node" };
}
