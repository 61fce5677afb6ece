using NodeAgent.Commands;
using NodeAgent.Configuration;
using Shouldly;

namespace NodeAgent.Tests.Commands;

public sealed class AwsEndpointTests
{
    [Fact]
    public void A_URL_is_taken() =>
        AwsEndpoint.Parse("AWS_ENDPOINT_URL_S3", "https://vpce-0a1b.example:8443").ShouldBe(new Uri("https://vpce-0a1b.example:8443"));

    [Theory]
    [InlineData("vpce-0a1b.example")]
    [InlineData("ftp://vpce-0a1b.example")]
    [InlineData("/endpoint")]
    public void What_is_no_URL_is_named_with_its_variable(string text) =>
        Should.Throw<ConfigurationException>(() => AwsEndpoint.Parse("AWS_ENDPOINT_URL_S3", text)).Message
            .ShouldSatisfyAllConditions(m => m.ShouldContain("AWS_ENDPOINT_URL_S3"), m => m.ShouldContain($"'{text}'"));
}
