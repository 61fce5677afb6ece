using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Configuration;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Commands;

/// <summary>nodeagent ca: a cluster's CAs in their store. For administrators and control plane nodes; workers have no right to it.</summary>
internal static class CaCommand
{
    public static Command Create() =>
        new("ca", "The cluster's CAs and its service account key, in their store.") { Init(), Show(), Issue(), CaRotateCommand.Create() };

    private static Command Init()
    {
        var where = new StoreOptions();
        var algorithm = Algorithm();
        var kmsKeys = Repeated(
            "--ca-key", "An asymmetric KMS key that is the key of this CA (ca, etcd-ca or front-proxy-ca), and never leaves KMS.", "ROLE=ARN|ROLE=alias/NAME");
        var command = new Command("init", """
            Make the CAs of a cluster (Kubernetes, etcd, front proxy) and the service account key, as far as they are not there. Whoever comes first makes them;
            all others, and whoever comes again, find them and change nothing.

            Exit codes: 0 made or there, 1 failed, 3 bad command line, 4 not reachable in time.

            Example:
              nodeagent ca init --store s3://example-pki/clusters/amber --kms-key alias/amber-pki
              nodeagent ca init --store s3://example-pki/clusters/amber --ca-key ca=alias/amber-ca --ca-key etcd-ca=alias/amber-etcd-ca
            """)
        {
            algorithm, kmsKeys,
        };
        where.AddTo(command, writes: true);
        command.Validators.Add(result =>
        {
            foreach (var pair in result.GetValue(kmsKeys) ?? [])
            {
                if (pair.Split('=', 2) is not [var role, { Length: > 0 } key] || RoleTable.Authorities.All(a => a.Role != role)
                    || !IsKmsKey(key))
                {
                    result.AddError(
                        $"--ca-key: '{pair}' is not ROLE=KEY, with {string.Join(", ", RoleTable.Authorities.Select(a => a.Role))} and an ARN or alias/NAME");
                }
            }

            if (result.GetValue(kmsKeys)?.GroupBy(p => p.Split('=')[0]).FirstOrDefault(g => g.Count() > 1) is { } twice)
            {
                result.AddError($"--ca-key: {twice.Key} is given twice");
            }
        });
        command.SetAction((parse, stop) => where.Within(
            parse,
            async timer =>
            {
                using var store = await where.Open(parse, timer).ConfigureAwait(false);
                var made = await ClusterAuthorities.Make(
                    store,
                    parse.GetValue(algorithm),
                    parse.GetValue(kmsKeys)!.Select(k => k.Split('=', 2)).ToDictionary(k => k[0], k => k[1], StringComparer.Ordinal),
                    where.Kms(parse),
                    TimeProvider.System.GetUtcNow(),
                    timer).ConfigureAwait(false);
                Console.Out.WriteLine(made.Count == 0 ? $"All there: {store.Name}." : $"Made in {store.Name}: {string.Join(", ", made)}.");
                return ExitCode.Ok;
            },
            stop));
        return command;
    }

    private static Command Show()
    {
        var where = new StoreOptions();
        var format = new Option<string>("--format")
        {
            Description = "text, json, or pem: the Kubernetes CA for cluster.certificateAuthority.",
            HelpName = "text|json|pem",
            DefaultValueFactory = _ => "text",
        };
        format.AcceptOnlyFromAmong("text", "json", "pem");
        var command = new Command("show", """
            Show the CAs of a cluster: subject, kind of key, fingerprint, validity. Reads no key.

            Exit codes: 0 all there, 1 failed, not all there or one expired, 3 bad command line, 4 not reachable in time.

            Example:
              nodeagent ca show --store s3://example-pki/clusters/amber
            """)
        {
            format,
        };
        where.AddTo(command);
        command.SetAction((parse, stop) => where.Within(
            parse,
            async timer =>
            {
                using var store = await where.Open(parse, timer).ConfigureAwait(false);
                var all = await ClusterAuthorities.Certificates(store, timer).ConfigureAwait(false);
                var now = TimeProvider.System.GetUtcNow();
                Console.Out.Write(parse.GetValue(format) switch
                {
                    "json" => CaText.Json(store.Name, all, now),
                    "pem" => Pem.Write(all.Where(a => a.Row.Authority == Authority.Cluster && a.Certificate is not null).Select(a => a.Certificate!)),
                    _ => CaText.Text(all, now),
                });
                return all.All(a => a.Certificate is not null && !CaText.IsExpired(a.Certificate, now)) ? ExitCode.Ok : ExitCode.Failed;
            },
            stop));
        return command;
    }

    private static Command Issue()
    {
        var where = new StoreOptions();
        var algorithm = Algorithm();
        var output = new Option<string>("--out")
        {
            Description = "Directory that stands for /etc/kubernetes; files in it are replaced.",
            HelpName = "DIR",
            Required = true,
        };
        var node = new Option<string>("--node") { Description = "The node's name.", HelpName = "NAME", Required = true };
        var addresses = Repeated("--address", "An address of the node.", "IP");
        var dns = Repeated("--dns", "A further name of the node.", "NAME");
        var extra = Repeated("--api-name", "A further name or address of the API server.", "NAME|IP");
        var cluster = new Option<string>("--cluster")
        {
            Description = "The cluster's name, for kubeconfigs.",
            HelpName = "NAME",
            DefaultValueFactory = _ => "kubernetes",
        };
        var endpoint = new Option<Uri>("--endpoint")
        {
            Description = "Of the API server, as in https://api.example.com:6443.",
            HelpName = "URL",
            Required = true,
            CustomParser = result => Parsed(result, "--endpoint", Endpoint)!,
        };
        var domain = new Option<string>("--domain") { Description = "cluster.domain.", HelpName = "DOMAIN", DefaultValueFactory = _ => "cluster.local" };
        var services = new Option<Cidr>("--service-range")
        {
            Description = "cluster.serviceRange; its first address is the service kubernetes.",
            HelpName = "CIDR",
            DefaultValueFactory = _ => Cidr.Parse("10.96.0.0/12"),
            CustomParser = result => Parsed(
                result,
                "--service-range",
                text => Cidr.Parse(text) is var range && range.Size > 1
                    ? range
                    : throw new FormatException($"'{text}' has no first address for the service kubernetes")),
        };
        var command = new Command("issue", """
            Make all certificates, keys and kubeconfigs of a control plane node at once, into a directory laid out as kubeadm's /etc/kubernetes. For laboratories, and for
            the day on which nothing else works. The keys of CAs stay in their store.

            Exit codes: 0 made, 1 failed, 3 bad command line, 4 not reachable in time.

            Example:
              nodeagent ca issue --store /var/lib/lab-ca --node cp-1 --address 10.0.0.4 --endpoint https://10.0.0.4:6443 --out /etc/kubernetes
            """)
        {
            output, node, addresses, dns, extra, cluster, endpoint, domain, services, algorithm,
        };
        where.AddTo(command);
        command.Validators.Add(result =>
        {
            Check("--address", result.GetValue(addresses), a => IPAddress.TryParse(a, out _), "no IP address");
            // They go into subjects and kubeconfigs: what is no name, nobody is to be made to take for one.
            const string Dns = "no DNS name; expected lower case labels of up to 63 letters, digits and '-', as in cp-1.example.com";
            Check("--node", [result.GetValue(node)!], ConfigValidation.IsDnsName, Dns);
            Check("--dns", result.GetValue(dns), ConfigValidation.IsDnsName, Dns);
            Check("--domain", [result.GetValue(domain)!], ConfigValidation.IsDnsName, Dns);
            Check("--api-name", result.GetValue(extra), IsNameOrAddress, "neither an address nor a DNS name in lower case");
            Check(
                "--cluster",
                [result.GetValue(cluster)!],
                ConfigValidation.IsClusterName,
                "no cluster's name; expected letters, digits, '-', '_' and '.', a letter or digit first");

            void Check(string option, IEnumerable<string>? values, Func<string, bool> isGood, string what)
            {
                // One that is missing is told of as that.
                foreach (var bad in (values ?? []).Where(v => v is not null && !isGood(v)))
                {
                    result.AddError($"{option}: '{bad}' is {what}");
                }
            }
        });
        command.SetAction((parse, stop) => where.Within(
            parse,
            async timer =>
            {
                using var store = await where.Open(parse, timer).ConfigureAwait(false);
                using var authorities = await ClusterAuthorities.Load(store, where.Kms(parse), timer).ConfigureAwait(false);
                var server = parse.GetValue(endpoint)!;
                string[] called = [server.DnsSafeHost, .. parse.GetValue(extra)!];
                var files = await Sign().ConfigureAwait(false);
                var directory = Path.GetFullPath(parse.GetValue(output)!);
                foreach (var file in files)
                {
                    Files.Write(directory + file.Path["/etc/kubernetes".Length..], file.Content, file.Mode);
                }

                Console.Out.WriteLine($"Made {files.Count} files in {directory}, signed by {store.Name}.");
                return ExitCode.Ok;

                async Task<IReadOnlyList<MadeFile>> Sign()
                {
                    try
                    {
                        return await ControlPlaneFiles.Make(
                            authorities,
                            parse.GetValue(cluster)!,
                            server,
                            new(parse.GetValue(node)!, parse.GetValue(dns)!, [.. parse.GetValue(addresses)!.Select(IPAddress.Parse)]),
                            new(
                                parse.GetValue(domain)!,
                                [.. called.Where(c => !IPAddress.TryParse(c, out _))],
                                [parse.GetValue(services)[1], .. called.Where(c => IPAddress.TryParse(c, out _)).Select(IPAddress.Parse)]),
                            parse.GetValue(algorithm),
                            TimeProvider.System.GetUtcNow()).ConfigureAwait(false);
                    }
                    catch (CryptographicException e)
                    {
                        // Out of its time, for one.
                        throw new CaException($"{store.Name}: {e.Message}", e);
                    }
                }
            },
            stop));
        return command;
    }

    internal static bool IsKmsKey(string key) =>
        key.StartsWith("alias/", StringComparison.Ordinal) || (key.StartsWith("arn:", StringComparison.Ordinal) && key.Split(':').Length == 6);

    internal static Option<KeyAlgorithm> Algorithm() => new("--key-algorithm")
    {
        Description = $"Of new keys ({KeyAlgorithm.EcdsaP256.Name()} unless given).",
        HelpName = string.Join('|', KeyAlgorithms.Names),
        CustomParser = result => Parsed(result, "--key-algorithm", KeyAlgorithms.Parse),
    };

    private static Option<string[]> Repeated(string name, string description, string help) =>
        new(name) { Description = description + " May be given more than once.", HelpName = help, DefaultValueFactory = _ => [] };

    private static bool IsNameOrAddress(string text) => IPAddress.TryParse(text, out _) || ConfigValidation.IsDnsName(text);

    /// <exception cref="FormatException"/>
    private static Uri Endpoint(string text) =>
        !Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme != "https" ? throw new FormatException($"'{text}' is no https URL")
        // Not repeated: it may be a password.
        : uri.UserInfo.Length > 0 ? throw new FormatException("holds a user name or password; clients prove who they are with certificates")
        : uri.AbsolutePath != "/" || uri.Query.Length + uri.Fragment.Length > 0 || !IsNameOrAddress(uri.DnsSafeHost)
            ? throw new FormatException($"'{text}' is no API server; expected https://host[:port]")
        : uri;

    private static T? Parsed<T>(System.CommandLine.Parsing.ArgumentResult result, string option, Func<string, T> parse)
    {
        try
        {
            return parse(result.Tokens[0].Value);
        }
        catch (FormatException e)
        {
            result.AddError($"{option}: {e.Message}");
            return default;
        }
    }
}

internal static class CaText
{
    private static readonly JsonWriterOptions Options = new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static bool IsExpired(byte[] der, DateTimeOffset now) => ParsedCertificate.Parse(der) is { } certificate && now >= certificate.NotAfter;

    public static string Text(IReadOnlyList<(RoleAuthority Row, byte[]? Certificate, string? Stage)> all, DateTimeOffset now)
    {
        var text = new StringBuilder();
        foreach (var (row, der, stage) in all)
        {
            if (der is null)
            {
                text.Append(CultureInfo.InvariantCulture, $"{row.Role}: not there; 'nodeagent ca init' makes it\n");
                continue;
            }

            using var certificate = X509CertificateLoader.LoadCertificate(der);
            var kind = KeyAlgorithms.Describe(certificate.PublicKey.ExportSubjectPublicKeyInfo());
            text.Append(CultureInfo.InvariantCulture, $"{row.Role}: {certificate.Subject}, {kind}, ");
            text.Append(
                CultureInfo.InvariantCulture, $"{certificate.NotBefore.ToUniversalTime():yyyy-MM-dd} to {certificate.NotAfter.ToUniversalTime():yyyy-MM-dd}");
            text.Append(stage is null ? "" : $", {stage}").Append(IsExpired(der, now) ? ": expired\n" : "\n");
            text.Append(
                CultureInfo.InvariantCulture, $"  certificate SHA-256 {Convert.ToHexStringLower(SHA256.HashData(der))}\n  public key  {KeyPin(certificate)}\n");
        }

        return text.ToString();
    }

    public static string Json(string store, IReadOnlyList<(RoleAuthority Row, byte[]? Certificate, string? Stage)> all, DateTimeOffset now)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            json.WriteStartObject();
            json.WriteString("store", store);
            json.WriteStartArray("authorities");
            foreach (var (row, der, stage) in all)
            {
                json.WriteStartObject();
                json.WriteString("role", row.Role);
                json.WriteBoolean("there", der is not null);
                if (der is not null)
                {
                    using var certificate = X509CertificateLoader.LoadCertificate(der);
                    json.WriteString("subject", certificate.Subject);
                    if (stage is not null)
                    {
                        json.WriteString("stage", stage);
                    }

                    json.WriteString("keyAlgorithm", KeyAlgorithms.Describe(certificate.PublicKey.ExportSubjectPublicKeyInfo()));
                    json.WriteString("notBefore", Rfc3339.Text(certificate.NotBefore));
                    json.WriteString("notAfter", Rfc3339.Text(certificate.NotAfter));
                    json.WriteBoolean("expired", IsExpired(der, now));
                    json.WriteString("sha256", Convert.ToHexStringLower(SHA256.HashData(der)));
                    json.WriteString("publicKey", KeyPin(certificate));
                    json.WriteString("pem", Pem.Write([der]));
                }

                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    /// <summary>As kubeadm join takes it (--discovery-token-ca-cert-hash).</summary>
    private static string KeyPin(X509Certificate2 certificate) =>
        "sha256:" + Convert.ToHexStringLower(SHA256.HashData(certificate.PublicKey.ExportSubjectPublicKeyInfo()));
}
