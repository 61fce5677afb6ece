using System.Formats.Asn1;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Network;
using NodeAgent.Pki;

namespace NodeAgent.Issuer;

/// <summary>
/// Decides who gets which certificates. Cheap checks come before dear ones, those on this machine before calls of AWS. What is signed comes from EC2 and the
/// table of roles; of a request, public keys alone.
/// </summary>
internal sealed class Admission(
    IssuerSettings settings, ICertificateSigner signer, Nonces nonces, Sts sts, IAmazonEC2 ec2, PodRanges? podRanges, TimeProvider time)
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(3);

    /// <summary>How the subject of each node's client certificate begins.</summary>
    private static readonly string AnyNode = RoleTable.Find(RoleTable.NodeClient)!.For(new("", [], [])).Subject;

    // What EC2 takes of a filter's values.
    private const int LargestFilter = 200;

    private readonly LookUps<Instance> _instances = new(
        async (ids, stop) => (await Ec2.Instances(ec2, "instance-id", ids, stop).ConfigureAwait(false))
            // An instance that changes between two pages may be on both.
            .GroupBy(i => i.InstanceId, StringComparer.Ordinal)
            .ToDictionary(g => g.Key, g => g.Last(), StringComparer.Ordinal),
        LargestFilter,
        settings.Limits.Remembered,
        time);

    private readonly LookUps<IReadOnlyList<Instance>> _holders = new(
        async (names, stop) => (await Ec2.Instances(ec2, "private-dns-name", names, stop).ConfigureAwait(false))
            .GroupBy(i => i.PrivateDnsName, StringComparer.Ordinal)
            .ToDictionary(g => g.Key, IReadOnlyList<Instance> (g) => [.. g], StringComparer.Ordinal),
        LargestFilter,
        settings.Limits.Remembered,
        time);

    private readonly Places _places = new(settings.Limits.PerNode);

    /// <summary>Calls of EC2 so far.</summary>
    public long LookUpCalls => _instances.Calls + _holders.Calls;

    /// <summary>Certificates.</summary>
    public Errand<CertificatesRequest, CertificatesAnswer> Certificates => new(Parse, asked => asked.Document, Grant);

    /// <summary>The range of the node's pods.</summary>
    public Errand<PodRangeRequest, PodRangeAnswer> PodRange => new(
        (body, _) => Parse(body, ProtocolJson.Default.PodRangeRequest, "a request for a pod range"), asked => asked.Document, Grant);

    /// <summary>A node that shows who it is by a signature of its instance's role.</summary>
    /// <exception cref="IssuerRefusal"/>
    public async Task<TAnswer> ByProof<TAsked, TAnswer>(
        Errand<TAsked, TAnswer> errand, IHeaderDictionary headers, byte[] body, AuditEntry audit, CancellationToken cancellation)
    {
        audit.Proof = "sts";
        var (binding, proof) = Proof(headers, body);
        var asked = errand.Parse(body, audit);
        var document = Document(errand.Document(asked), audit);
        var kinds = await Caller(binding, proof, document, audit, cancellation).ConfigureAwait(false);
        // Not before it is proven, or a stranger with this node's document could take its places.
        using var place = Place(document.InstanceId);
        if (!nonces.Use(binding.Nonce))
        {
            throw IssuerRefusal.Forbidden("nonce", "this nonce was used before: each request wants a new one");
        }

        var (kind, node) = await Node(document, kinds, settings.Limits.NotFoundYet, audit, cancellation).ConfigureAwait(false);
        return await errand.Grant(asked, kind, node, audit, cancellation).ConfigureAwait(false);
    }

    /// <summary>A node that shows the certificate it has; the handshake proved that it has the key.</summary>
    /// <exception cref="IssuerRefusal"/>
    public async Task<TAnswer> ByCertificate<TAsked, TAnswer>(
        Errand<TAsked, TAnswer> errand,
        X509Certificate2 certificate,
        IHeaderDictionary headers,
        byte[] body,
        AuditEntry audit,
        CancellationToken cancellation)
    {
        audit.Proof = "certificate";
        Cluster(headers);
        var shown = Shown(certificate, audit);
        using var place = Place(shown.Subject);
        var asked = errand.Parse(body, audit);
        var document = Document(errand.Document(asked), audit);
        // Who has a certificate was found before: nothing to wait for.
        var (kind, node) = await Node(document, settings.Kinds, TimeSpan.Zero, audit, cancellation).ConfigureAwait(false);
        var row = kind.Certificates.FirstOrDefault(r => r.Role == RoleTable.NodeClient);
        if (row is null || shown.Subject != row.For(node.Identity).Subject)
        {
            throw IssuerRefusal.Forbidden(
                "certificate",
                $"the certificate is of '{IssuerRefusal.Short(shown.Subject)}', and {node.Instance.InstanceId} is "
                    + $"'{row?.For(node.Identity).Subject ?? node.Identity.Name}'");
        }

        // Names go from instance to instance, as addresses do. A start counts as a launch: such a node proves itself anew, by its role.
        if (node.Instance.LaunchTime is not { } launched || shown.NotBefore.UtcDateTime + CertificateAuthority.Backdating < launched)
        {
            throw IssuerRefusal.Forbidden(
                "certificate",
                $"the certificate is of {shown.NotBefore.UtcDateTime:u}, before {node.Instance.InstanceId} was launched or started "
                    + $"({node.Instance.LaunchTime:u})");
        }

        return await errand.Grant(asked, kind, node, audit, cancellation).ConfigureAwait(false);
    }

    /// <param name="who">Proven by then.</param>
    private Places.Place Place(string who) => _places.Take(who)
        ?? throw IssuerRefusal.Later("busy", $"{settings.Limits.PerNode} requests of this node are in work already", Soon);

    private void Cluster(IHeaderDictionary headers)
    {
        var cluster = One(headers, CallerProof.ClusterHeader, 256);
        if (cluster != settings.Cluster)
        {
            throw IssuerRefusal.Forbidden(
                "cluster", $"this is the issuer of cluster '{settings.Cluster}', and the request is for '{IssuerRefusal.Short(cluster)}'");
        }
    }

    private (ProofBinding Binding, ProofParts Parts) Proof(IHeaderDictionary headers, byte[] body)
    {
        Cluster(headers);
        var nonce = One(headers, CallerProof.NonceHeader, 128);
        if (nonces.Flaw(nonce) is { } flaw)
        {
            throw IssuerRefusal.Forbidden("nonce", flaw);
        }

        var hash = Convert.ToHexStringLower(SHA256.HashData(body));
        if (One(headers, CallerProof.BodyHashHeader, 64) != hash)
        {
            throw IssuerRefusal.Forbidden("body", "the body is not the one that the proof is for");
        }

        var date = One(headers, CallerProof.DateHeader, 16);
        const DateTimeStyles utc = DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal;
        if (!DateTimeOffset.TryParseExact(date, "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture, utc, out var signed))
        {
            throw IssuerRefusal.Malformed($"{CallerProof.DateHeader} is no time, as in 20260301T120000Z");
        }

        var now = time.GetUtcNow();
        if ((now - signed).Duration() > settings.Limits.ClockDifference)
        {
            throw IssuerRefusal.Forbidden(
                "clock", $"the proof was signed at {signed.UtcDateTime:u}, and this issuer's clock says {now.UtcDateTime:u}: is the node's clock set?");
        }

        var token = One(headers, CallerProof.TokenHeader, 8192);
        return (new(settings.Cluster, nonce, hash), new(Authorization(One(headers, "Authorization", 1024), date[..8]), date, token));
    }

    /// <summary>Exactly what <see cref="SignatureV4"/> writes. Anything else, signed or not, is no proof.</summary>
    private (string Credential, string Signature) Authorization(string value, string day)
    {
        const string start = CallerProof.Algorithm + " ";
        if (!value.StartsWith(start, StringComparison.Ordinal) || value[start.Length..].Split(',') is not [var credential, var headers, var signature]
            || !Strip(ref credential, "Credential=") || !Strip(ref headers, "SignedHeaders=") || !Strip(ref signature, "Signature="))
        {
            throw IssuerRefusal.Malformed($"Authorization is not {CallerProof.Algorithm} Credential=...,SignedHeaders=...,Signature=...");
        }

        if (headers != CallerProof.SignedHeaders)
        {
            throw IssuerRefusal.Forbidden(
                "proof", $"the proof signs the headers '{IssuerRefusal.Short(headers)}'; expected are {CallerProof.SignedHeaders}, no more and no less");
        }

        if (credential.Split('/') is not [{ Length: >= 16 and <= 128 } id, var date, var region, var service, var end]
            || !id.All(c => char.IsAsciiLetterUpper(c) || char.IsAsciiDigit(c)) || date != day || service != "sts" || end != "aws4_request")
        {
            throw IssuerRefusal.Forbidden(
                "proof",
                $"the proof's scope is '{IssuerRefusal.Short(credential[(credential.IndexOf('/', StringComparison.Ordinal) + 1)..])}'; expected "
                    + $"{day}/{settings.Region}/sts/aws4_request");
        }

        if (region != settings.Region)
        {
            throw IssuerRefusal.Forbidden("proof", $"the proof is for STS in '{IssuerRefusal.Short(region)}', and this issuer asks that of {settings.Region}");
        }

        return signature.Length == 64 && signature.All(c => char.IsAsciiHexDigitLower(c) || char.IsAsciiDigit(c))
            ? (credential, signature)
            : throw IssuerRefusal.Malformed("the proof's signature is not 64 lower case hex digits");

        static bool Strip(ref string text, string name)
        {
            var starts = text.StartsWith(name, StringComparison.Ordinal);
            text = starts ? text[name.Length..] : text;
            return starts;
        }
    }

    /// <summary>A header that is there once, printable and without spaces at its ends.</summary>
    private static string One(IHeaderDictionary headers, string name, int longest)
    {
        var values = headers[name];
        return values.Count switch
        {
            0 => throw IssuerRefusal.Malformed($"the header {name} is missing"),
            > 1 => throw IssuerRefusal.Malformed($"the header {name} is there {values.Count} times"),
            _ when values[0] is { Length: > 0 } value && value.Length <= longest && value.All(c => c is >= ' ' and < (char)127) => value,
            _ => throw IssuerRefusal.Malformed($"the header {name} is empty, longer than {longest} or holds what no such value does"),
        };
    }

    private CertificatesRequest Parse(byte[] body, AuditEntry audit)
    {
        var asked = Parse(body, ProtocolJson.Default.CertificatesRequest, "a request for certificates");
        if (asked.Requests.Any(r => r is null))
        {
            throw IssuerRefusal.Malformed("a request is null");
        }

        audit.Roles = [.. asked.Requests.Take(settings.Limits.Certificates).Select(r => IssuerRefusal.Short(r.Role))];
        return asked.Requests.Count is 0 || asked.Requests.Count > settings.Limits.Certificates
                ? throw IssuerRefusal.Malformed($"{asked.Requests.Count} certificates are asked for; 1 to {settings.Limits.Certificates} go into one request")
            : asked.Requests.DistinctBy(r => r.Role, StringComparer.Ordinal).Count() != asked.Requests.Count
                ? throw IssuerRefusal.Malformed("a role is asked for twice")
            : asked;
    }

    private static T Parse<T>(byte[] body, JsonTypeInfo<T> type, string what)
    {
        try
        {
            return JsonSerializer.Deserialize(body, type) ?? throw IssuerRefusal.Malformed("the body is null");
        }
        catch (JsonException e)
        {
            // Where, not what: it is a stranger's text.
            throw IssuerRefusal.Malformed(
                string.Create(CultureInfo.InvariantCulture, $"the body is not the JSON of {what} (line {e.LineNumber + 1}, byte {e.BytePositionInLine})"), e);
        }
    }

    /// <summary>Static, and a thief may show it, too: it counts beside another proof only, and must name the same instance.</summary>
    private IdentityDocument Document(byte[] signed, AuditEntry audit)
    {
        if (signed.Length == 0)
        {
            throw IssuerRefusal.Forbidden("document", "there is no instance identity document");
        }

        IdentityDocument? document;
        try
        {
            document = JsonSerializer.Deserialize(SignedDocument.Verify(signed, settings.DocumentSigners), IdentityDocumentJson.Default.IdentityDocument);
        }
        catch (Exception e) when (e is CryptographicException or JsonException)
        {
            throw IssuerRefusal.Forbidden(
                "document",
                e is JsonException ? "the instance identity document is not what EC2 writes" : $"the instance identity document does not hold: {e.Message}",
                e);
        }

        if (document is null || !IsInstanceId(document.InstanceId))
        {
            throw IssuerRefusal.Forbidden("document", "the instance identity document names no instance");
        }

        audit.Instance = document.InstanceId;
        return document.AccountId != settings.Account
                ? throw IssuerRefusal.Forbidden(
                    "document",
                    $"the instance identity document is of account {IssuerRefusal.Short(document.AccountId)}, and the cluster's is {settings.Account}")
            : document.Region != settings.Region
                ? throw IssuerRefusal.Forbidden(
                    "document", $"the instance identity document is of region {IssuerRefusal.Short(document.Region)}, and the cluster's is {settings.Region}")
            : document;
    }

    /// <returns>The kinds of nodes that the caller's role may be.</returns>
    private async Task<IReadOnlyList<NodeKind>> Caller(
        ProofBinding binding, ProofParts proof, IdentityDocument document, AuditEntry audit, CancellationToken cancellation)
    {
        Caller caller;
        using (var request = CallerProof.Rebuild(binding, sts.Endpoint, proof.Authorization.Credential, proof.Authorization.Signature, proof.Date, proof.Token))
        {
            try
            {
                caller = await sts.CallerOf(request, cancellation).ConfigureAwait(false);
            }
            catch (AwsException e) when (e.Kind == AwsFailureKind.NotAllowed)
            {
                throw IssuerRefusal.Forbidden("proof", $"STS does not take the signature: {e.Failure.Cause}", e);
            }
            catch (AwsException e)
            {
                throw IssuerRefusal.Later("unavailable", e.Message, Soon, e);
            }
        }

        audit.Caller = IssuerRefusal.Short(caller.Arn, 200);
        if (caller.Account != settings.Account)
        {
            throw IssuerRefusal.Forbidden("caller", $"the caller is of account {IssuerRefusal.Short(caller.Account)}, and the cluster's is {settings.Account}");
        }

        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
        if (caller.Arn.Split(':') is not ["arn", var partition, "sts", "", var account, var resource]
            || resource.Split('/') is not ["assumed-role", var role, var session]
            || account != caller.Account || partition != Partition.Name(settings.Region))
        {
            throw IssuerRefusal.Forbidden(
                "caller", $"the caller is {IssuerRefusal.Short(caller.Arn, 200)}, which is no role that an instance of this account has assumed");
        }

        if (!IsInstanceId(session) || !caller.UserId.EndsWith(":" + session, StringComparison.Ordinal))
        {
            throw IssuerRefusal.Forbidden(
                "caller", $"the session is called '{IssuerRefusal.Short(session)}', which is no instance: only EC2 may assume the role of a node");
        }

        if (session != document.InstanceId)
        {
            throw IssuerRefusal.Forbidden("document", $"the instance identity document is of {document.InstanceId}, and the caller is {session}");
        }

        IReadOnlyList<NodeKind> kinds = [.. settings.Kinds.Where(k => k.IamRole == role)];
        return kinds.Count > 0 ? kinds : throw IssuerRefusal.Forbidden(
            "caller", $"the role {IssuerRefusal.Short(role)} is none that nodes of this cluster have");
    }

    /// <summary>A certificate that would do for kubelet, of a node whichever.</summary>
    private ParsedCertificate Shown(X509Certificate2 certificate, AuditEntry audit)
    {
        var raw = certificate.RawData;
        if (ParsedCertificate.Parse(raw) is not { } shown || !ParsedCertificate.IsIssuedBy([raw], signer.Trusted))
        {
            throw IssuerRefusal.Forbidden("certificate", "the certificate is not of this cluster's CA");
        }

        audit.Caller = IssuerRefusal.Short(shown.Subject, 200);
        var now = time.GetUtcNow();
        return now < shown.NotBefore ? throw IssuerRefusal.Forbidden(
            "certificate", $"the certificate is not valid before {shown.NotBefore.UtcDateTime:u}, and this issuer's clock says {now.UtcDateTime:u}")
            : now >= shown.NotAfter ? throw IssuerRefusal.Forbidden(
                "certificate", $"the certificate expired at {shown.NotAfter.UtcDateTime:u}: the node has to prove itself by its role")
            : shown.IsAuthority || !shown.Usages.Contains("client") ? throw IssuerRefusal.Forbidden("certificate", "the certificate is none for clients")
            : !shown.Subject.StartsWith(AnyNode, StringComparison.Ordinal) ? throw IssuerRefusal.Forbidden(
                "certificate", $"the certificate is of '{IssuerRefusal.Short(shown.Subject)}', which is no node")
            : shown;
    }

    private async Task<(NodeKind Kind, KnownNode Node)> Node(
        IdentityDocument document, IReadOnlyList<NodeKind> kinds, TimeSpan patience, AuditEntry audit, CancellationToken cancellation)
    {
        var id = document.InstanceId;
        var instance = await OfEc2(() => Known(id, patience, cancellation), audit, cancellation).ConfigureAwait(false)
            ?? throw IssuerRefusal.Later("not-yet", $"EC2 does not know {id} (yet)", Soon);
        if (instance.State.Name is not ("pending" or "running"))
        {
            throw IssuerRefusal.Forbidden("instance", $"{id} is {IssuerRefusal.Short(instance.State.Name)}");
        }

        if (instance.VpcId != settings.VpcId)
        {
            throw IssuerRefusal.Forbidden("instance", $"{id} is in {IssuerRefusal.Short(instance.VpcId)}, and the cluster is in {settings.VpcId}");
        }

        if (Tag(InstanceTag.Cluster) is var cluster && cluster != settings.Cluster)
        {
            throw IssuerRefusal.Forbidden("instance", $"{id} {Says(InstanceTag.Cluster, cluster)}; expected '{settings.Cluster}'");
        }

        var role = Tag(InstanceTag.Role);
        IReadOnlyList<NodeKind> ofRole = [.. kinds.Where(k => k.NodeRole == role)];
        if (ofRole.Count == 0)
        {
            throw IssuerRefusal.Forbidden(
                "instance", $"{id} {Says(InstanceTag.Role, role)}; its IAM role is for {string.Join(", ", kinds.Select(k => k.NodeRole).Distinct())}");
        }

        var profile = instance.IamInstanceProfile.Arn;
        var ours = $"arn:{Partition.Name(settings.Region)}:iam::{settings.Account}:instance-profile/";
        var isOurs = profile.StartsWith(ours, StringComparison.Ordinal);
        var kind = ofRole.FirstOrDefault(k => isOurs && k.Profile == profile[(profile.LastIndexOf('/') + 1)..])
            ?? throw IssuerRefusal.Forbidden(
                "instance",
                $"{id} {(profile.Length == 0 ? "has no instance profile" : $"has the instance profile {IssuerRefusal.Short(profile, 200)}")}; "
                + $"a {role} has {ours}{string.Join(" or ", ofRole.Select(k => k.Profile).Distinct())}");

        var node = new KnownNode(instance, await Identity(instance, audit, cancellation).ConfigureAwait(false));
        audit.Node = node.Identity.Name;
        return (kind, node);

        string? Tag(string key) => instance.Tags.FirstOrDefault(t => t.Key == key)?.Value;

        static string Says(string key, string? value) => value is null ? $"has no tag {key}" : $"has the tag {key} = '{IssuerRefusal.Short(value)}'";
    }

    private async Task<Instance?> Known(string id, TimeSpan patience, CancellationToken cancellation)
    {
        var since = time.GetTimestamp();
        while (true)
        {
            var instance = await _instances.Get(id).WaitAsync(cancellation).ConfigureAwait(false);
            // EC2 describes a new instance some time after it runs.
            if (instance is not null || time.GetElapsedTime(since) >= patience)
            {
                return instance;
            }

            await Task.Delay(TimeSpan.FromSeconds(1), time, cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>As the node computes it (Desired/Certificates.cs), from EC2's mouth: its name and the address of its first interface.</summary>
    private async Task<NodeIdentity> Identity(Instance instance, AuditEntry audit, CancellationToken cancellation)
    {
        var name = settings.Naming == NodeNaming.InstanceId ? instance.InstanceId : instance.PrivateDnsName.ToLowerInvariant();
        if (name.Length == 0 || !IPAddress.TryParse(instance.PrivateIpAddress, out var address))
        {
            throw instance.State.Name == "pending"
                ? IssuerRefusal.Later("not-yet", $"EC2 tells no name or address of {instance.InstanceId} yet", Soon)
                : IssuerRefusal.Forbidden("name", $"{instance.InstanceId} has no private DNS name or no address: are DNS hostnames off in the VPC?");
        }

        if (RoleTable.IssuerServing.DnsNames.Contains(name, StringComparer.OrdinalIgnoreCase))
        {
            throw IssuerRefusal.Forbidden("name", $"'{name}' is the issuer's own name");
        }

        // An instance's ID is nobody else's.
        if (settings.Naming != NodeNaming.InstanceId)
        {
            var holders = await OfEc2(() => _holders.Get(instance.PrivateDnsName).WaitAsync(cancellation), audit, cancellation).ConfigureAwait(false) ?? [];
            var others = holders.Where(h => h.InstanceId != instance.InstanceId && h.VpcId == settings.VpcId);
            if (others.FirstOrDefault(h => h.State.Name is not ("terminated" or "shutting-down")) is { } other)
            {
                throw IssuerRefusal.Forbidden("name", $"the name {name} is that of {other.InstanceId}, too, which is {IssuerRefusal.Short(other.State.Name)}");
            }
        }

        return new(name, settings.Naming == NodeNaming.InstanceId ? [] : [instance.PrivateDnsName], [address]);
    }

    /// <remarks>What EC2 says of a failure is for the audit alone: it may name the issuer's own role.</remarks>
    private static async Task<T?> OfEc2<T>(Func<Task<T?>> ask, AuditEntry audit, CancellationToken cancellation)
    {
        try
        {
            return await ask().ConfigureAwait(false);
        }
        catch (AwsException e)
        {
            audit.Detail = e.Message;
            throw IssuerRefusal.Later(
                "unavailable",
                "EC2 does not answer this issuer; its audit has the reason",
                e.Kind == AwsFailureKind.NotAllowed ? TimeSpan.FromSeconds(30) : Soon,
                e);
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw IssuerRefusal.Later("unavailable", "EC2 did not answer in time", Soon, e);
        }
    }

    /// <summary>All that is asked for, or nothing.</summary>
    private async Task<CertificatesAnswer> Grant(CertificatesRequest asked, NodeKind kind, KnownNode node, AuditEntry audit, CancellationToken cancellation)
    {
        var wanted = new List<(RoleCertificate Row, CertificateContent Content, PublicKey Key)>();
        foreach (var request in asked.Requests)
        {
            var row = kind.Certificates.FirstOrDefault(r => r.Role == request.Role)
                ?? throw IssuerRefusal.Forbidden("role", $"a {kind.NodeRole} gets no certificate for '{IssuerRefusal.Short(request.Role)}'");
            var content = row.For(node.Identity);
            try
            {
                wanted.Add((row, content, SigningRequest.ReadFor(request.Request, content)));
            }
            catch (CryptographicException e)
            {
                throw IssuerRefusal.Forbidden("request", $"{row.Role}: {e.Message}", e);
            }
        }

        if (wanted.DistinctBy(w => Convert.ToHexString(w.Key.ExportSubjectPublicKeyInfo())).Count() != wanted.Count)
        {
            throw IssuerRefusal.Forbidden("request", "two roles have the same key: each certificate wants one of its own");
        }

        var granted = new List<GrantedCertificate>();
        var audited = new List<AuditedCertificate>();
        foreach (var (row, content, key) in wanted)
        {
            try
            {
                var der = await signer.Sign(key, content, settings.Lifetime, cancellation).ConfigureAwait(false);
                granted.Add(new(row.Role, [der]));
                audited.Add(Audited(row.Role, content, der));
            }
            catch (CryptographicException e)
            {
                audit.Detail = e.InnerException is AwsException ? e.Message : null;
                throw IssuerRefusal.Later(
                    "unavailable",
                    $"the CA does not sign: {(audit.Detail is null ? e.Message : "the issuer's audit has the reason")}",
                    TimeSpan.FromSeconds(30),
                    e);
            }
        }

        audit.Certificates = audited;
        return new(granted);
    }

    /// <summary>Of the caller's own instance, whatever it asks for.</summary>
    private async Task<PodRangeAnswer> Grant(PodRangeRequest asked, NodeKind kind, KnownNode node, AuditEntry audit, CancellationToken cancellation)
    {
        if (podRanges is null)
        {
            throw IssuerRefusal.Forbidden("pod-range", "this issuer gives out no ranges for pods: it was started without --pod-range");
        }

        if (!kind.HasPods)
        {
            throw IssuerRefusal.Forbidden("pod-range", $"a {kind.NodeRole} gets no range for pods");
        }

        Cidr? wish = null;
        try
        {
            wish = asked.Range is { } text ? Cidr.Parse(IssuerRefusal.Short(text)) : null;
        }
        catch (FormatException e)
        {
            throw IssuerRefusal.Malformed(e.Message, e);
        }

        var range = await OfEc2(
            async () => (PodRangeAnswer?)new PodRangeAnswer((await podRanges.Claim(node.Instance, wish, cancellation).ConfigureAwait(false)).ToString()),
            audit,
            cancellation).ConfigureAwait(false);
        audit.PodRange = range!.Range;
        return range;
    }

    /// <summary>Serial and end, RFC 5280, 4.1. Not X509Certificate2, which reads the key as well: that takes longer than to sign.</summary>
    private static AuditedCertificate Audited(string role, CertificateContent content, byte[] der)
    {
        var certificate = new AsnReader(der, AsnEncodingRules.DER).ReadSequence().ReadSequence();
        _ = certificate.ReadEncodedValue(); // version
        var serial = certificate.ReadIntegerBytes();
        _ = certificate.ReadEncodedValue(); // signature's algorithm
        _ = certificate.ReadEncodedValue(); // issuer
        var validity = certificate.ReadSequence();
        _ = validity.ReadEncodedValue();
        var end = validity.PeekTag().HasSameClassAndValue(Asn1Tag.UtcTime) ? validity.ReadUtcTime() : validity.ReadGeneralizedTime();
        return new(role, content.Subject, Convert.ToHexString(serial.Span), end);
    }

    // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html: 8 digits before 2016, 17 since.
    private static bool IsInstanceId(string text) =>
        text.StartsWith("i-", StringComparison.Ordinal) && text.Length is 10 or 19 && text[2..].All(c => char.IsAsciiDigit(c) || char.IsAsciiHexDigitLower(c));

    internal sealed record KnownNode(Instance Instance, NodeIdentity Identity);

    /// <summary>What a node comes for. Who it is, is found out the same way for each.</summary>
    /// <param name="Document">The signed identity document within the request.</param>
    internal sealed record Errand<TAsked, TAnswer>(
        Func<byte[], AuditEntry, TAsked> Parse,
        Func<TAsked, byte[]> Document,
        Func<TAsked, NodeKind, KnownNode, AuditEntry, CancellationToken, Task<TAnswer>> Grant);

    /// <summary>Not a record: a record would print the session token.</summary>
    private sealed class ProofParts((string Credential, string Signature) authorization, string date, string token)
    {
        public (string Credential, string Signature) Authorization { get; } = authorization;

        public string Date { get; } = date;

        public string Token { get; } = token;
    }
}

/// <summary>How much of an issuer one caller may hold at a time, so that one node's certificate does not keep all others out.</summary>
internal sealed class Places(int each)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _taken = new(StringComparer.Ordinal);

    /// <returns>To be disposed of; null when there is none left.</returns>
    public Place? Take(string who)
    {
        lock (_gate)
        {
            var taken = _taken.GetValueOrDefault(who);
            if (taken >= each)
            {
                return null;
            }

            _taken[who] = taken + 1;
            return new Place(this, who);
        }
    }

    private void Leave(string who)
    {
        lock (_gate)
        {
            if (--_taken[who] == 0)
            {
                _taken.Remove(who);
            }
        }
    }

    internal sealed class Place(Places places, string who) : IDisposable
    {
        public void Dispose() => places.Leave(who);
    }
}

/// <summary>Of the instance identity document, what is held against others.</summary>
internal sealed record IdentityDocument(string InstanceId, string Region, string AccountId);

// The document holds more than these, and one day more still.
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(IdentityDocument))]
internal sealed partial class IdentityDocumentJson : JsonSerializerContext;
