using NodeAgent.Kubernetes;
using Shouldly;

namespace NodeAgent.Tests.Kubernetes;

public class ReleaseNumberTests
{
    [Theory]
    [InlineData("1.7.24", "1.7.24")]
    [InlineData("v1.7.24~ds1", "1.7.24")]
    [InlineData("20.10.24+dfsg1", "20.10.24")]
    [InlineData("26.1.5+dfsg1", "26.1.5")]
    [InlineData("2.0.0-rc.1", "2.0.0")]
    [InlineData("17.05.0-ce", "17.5.0")]
    [InlineData("1.29.0-eks-5e0fdde", "1.29.0")]
    [InlineData("1.20.2.el8", "1.20.2")]
    [InlineData("1.36", "1.36")]
    public void What_packagers_hang_on_a_release_is_no_part_of_its_number(string text, string number) =>
        ReleaseNumber.Parse(text).ShouldBe(Version.Parse(number));

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("v")]
    [InlineData("dev")]
    [InlineData("29")]
    [InlineData("29.")]
    [InlineData("29-1.2")]
    [InlineData(" 1.7.24")]
    [InlineData("-1.7.24")]
    [InlineData("1..7")]
    [InlineData("1.99999999999")]
    public void What_does_not_begin_with_two_numbers_is_not_a_release(string? text) => ReleaseNumber.Parse(text).ShouldBeNull();
}
