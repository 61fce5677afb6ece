using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Commands;
using NodeAgent.Configuration;

namespace NodeAgent.Tests.Issuer;

/// <summary>Options that cannot do are refused before anything is done, so that the unit does not try again and again.</summary>
public sealed class IssuerCommandTests
{
    [Theory]
    [InlineData("--listen", "127.0.0.1")]
    [InlineData("--listen", "20261")]
    [InlineData("--listen", "::1")]
    [InlineData("--listen", "[::]")]
    [InlineData("--listen", "127.0.0.1:0")]
    [InlineData("--listen", "127.0.0.1:70000")]
    [InlineData("--listen", "example.com:10261")]
    [InlineData("--metrics-port", "0")]
    [InlineData("--metrics-port", "70000")]
    [InlineData("--metrics-port", "x")]
    [InlineData("--connections-per-address", "0")]
    [InlineData("--connections-per-address", "1025")]
    [InlineData("--cluster", "")]
    [InlineData("--cluster", "a b")]
    [InlineData("--worker", "")]
    [InlineData("--worker", "=profile")]
    [InlineData("--worker", "role=")]
    [InlineData("--worker", "a=b=c")]
    [InlineData("--worker", "arn:aws:iam::123456789012:role/worker")]
    [InlineData("--vpc", "nonsense")]
    [InlineData("--vpc", "")]
    [InlineData("--vpc", "vpc-012345678")]
    public void An_option_of_another_form(string option, string value) =>
        Errors(option, value).ShouldHaveSingleItem().ShouldContain(option);

    [Theory]
    [InlineData("--listen", "[::]:10261")]
    [InlineData("--listen", "10.0.0.1:443")]
    [InlineData("--listen", "[0:0:0:0:0:0:0:1]:443")]
    [InlineData("--metrics-port", "9100")]
    [InlineData("--connections-per-address", "1024")]
    [InlineData("--cluster", "prod.eu-1")]
    [InlineData("--worker", "prod-worker")]
    [InlineData("--worker", "prod_worker@x=profile+y")]
    [InlineData("--vpc", "vpc-0123456789abcdef0")]
    [InlineData("--vpc", "vpc-01234567")]
    public void An_option_as_it_should_be(string option, string value) => Errors(option, value).ShouldBeEmpty();

    [Fact]
    public void Certificates_that_do_not_hold_for_this_instances_own_document()
    {
        using var ours = IssuerLab.DocumentSigner();
        using var others = IssuerLab.DocumentSigner();
        var document = IssuerLab.Sign("{}"u8.ToArray(), [ours]);

        IssuerCommand.CheckSigners("/identity.pem", [others, ours], IssuerLab.Region, document);
        var refused = Should.Throw<ConfigurationException>(() => IssuerCommand.CheckSigners("/identity.pem", [others], IssuerLab.Region, document));

        refused.Message.ShouldContain("/identity.pem");
        refused.Message.ShouldContain(IssuerLab.Region);
        ExitCode.Of(refused).ShouldBe(ExitCode.BadConfiguration);
    }

    [Fact]
    public void A_certificate_of_another_kind_of_signature()
    {
        using var ours = IssuerLab.DocumentSigner();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=ec2", key, HashAlgorithmName.SHA256);
        using var elliptic = request.CreateSelfSigned(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays(1));
        var document = IssuerLab.Sign("{}"u8.ToArray(), [ours]);

        Should.Throw<ConfigurationException>(() => IssuerCommand.CheckSigners("/identity.pem", [ours, elliptic], IssuerLab.Region, document))
            .Message.ShouldContain("certificate 2 is none of RSA-2048");
    }

    private static List<string> Errors(string option, string value)
    {
        var options = new Dictionary<string, string>
        {
            ["--cluster"] = "prod",
            ["--store"] = "s3://bucket/prefix",
            ["--worker"] = "prod-worker",
            ["--identity-certificates"] = "/identity.pem",
            [option] = value,
        };
        return [.. new RootCommand { IssuerCommand.Create() }.Parse(["issuer", .. options.SelectMany(o => new[] { o.Key, o.Value })]).Errors.Select(
            e => e.Message)];
    }
}
