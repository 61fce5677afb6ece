using FsCheck;
using FsCheck.Fluent;
using NodeAgent.Convergence;

namespace NodeAgent.Tests.Convergence;

public class UnifiedDiffTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("", "a\n")]
    [InlineData("a\n", "")]
    [InlineData("a\n", "b\n")]
    [InlineData("\n", "")]
    [InlineData("\n", "\n\n")]
    [InlineData("", "\n")]
    [InlineData("a\nb\nc\nd\ne\nf\ng\nh\ni\n", "a\nb\nc\nd\nE\nf\ng\nh\ni\n")]
    [InlineData("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n")]
    public void It_is_what_patch_takes(string before, string after) => Patched(before, UnifiedDiff.Of(before, after)).ShouldBe(after);

    /// <summary>diff -u may choose other lines of equal texts; that the one becomes the other is what counts.</summary>
    [Fact]
    public void Any_text_becomes_any_other_by_it()
    {
        var line = Gen.Elements("a", "b", "c", "", " x", "-y", "+z", "@@");
        var text = Gen.ListOf(line).Select(lines => string.Concat(lines.Select(l => l + "\n")));
        var pairs = Gen.Sample(Gen.Zip(text, text), 30, 60);

        foreach (var (before, after) in pairs)
        {
            Patched(before, UnifiedDiff.Of(before, after)).ShouldBe(after, $"from {before.Replace("\n", "\\n")}");
        }
    }

    [Fact]
    public void Equal_texts_differ_by_nothing() => UnifiedDiff.Of("a\nb\n", "a\nb\n").ShouldBeEmpty();

    [Fact]
    public void A_difference_in_the_last_newline_alone_is_said() => UnifiedDiff.Of("a\n", "a").ShouldBe("\\ Only the newline at the end of the file differs\n");

    [Fact]
    public void A_difference_in_line_ends_alone_is_said() => UnifiedDiff.Of("a\r\nb\r\n", "a\nb\n").ShouldStartWith("@@ -1,2 +1,2 @@\n");

    [Fact]
    public void Changes_far_apart_are_hunks_of_their_own_with_three_lines_around()
    {
        var before = string.Concat(Enumerable.Range(1, 30).Select(i => $"{i}\n"));
        var after = before.Replace("\n5\n", "\nfive\n", StringComparison.Ordinal).Replace("\n25\n", "\ntwenty-five\n", StringComparison.Ordinal);

        UnifiedDiff.Of(before, after).ShouldBe(
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n@@ -22,7 +22,7 @@\n 22\n 23\n 24\n-25\n+twenty-five\n 26\n 27\n 28\n");
    }

    /// <summary>Applies a diff as its hunks say, strictly: every context and removed line must be where the hunk claims.</summary>
    private static string Patched(string before, string diff)
    {
        var old = before.Split('\n')[..^1];
        var result = new List<string>();
        var at = 0;
        var lines = diff.Split('\n')[..^1];
        for (var i = 0; i < lines.Length;)
        {
            // @@ -l,s +l,s @@
            var header = lines[i++].Split(' ');
            header[0].ShouldBe("@@");
            var (oldStart, oldCount) = Range(header[1], '-');
            var (newStart, newCount) = Range(header[2], '+');
            var from = oldCount == 0 ? oldStart : oldStart - 1;
            from.ShouldBeGreaterThanOrEqualTo(at);
            result.AddRange(old[at..from]);
            at = from;
            result.Count.ShouldBe(newCount == 0 ? newStart : newStart - 1, $"the new side of {lines[i - 1]}");
            for (var (olds, news) = (0, 0); olds < oldCount || news < newCount; i++)
            {
                if (lines[i][0] is ' ' or '-')
                {
                    old[at++].ShouldBe(lines[i][1..]);
                    olds++;
                }

                if (lines[i][0] is ' ' or '+')
                {
                    result.Add(lines[i][1..]);
                    news++;
                }
            }
        }

        result.AddRange(old[at..]);
        return string.Concat(result.Select(l => l + "\n"));
    }

    private static (int Start, int Count) Range(string text, char mark)
    {
        text[0].ShouldBe(mark);
        var parts = text[1..].Split(',');
        return (int.Parse(parts[0], System.Globalization.CultureInfo.InvariantCulture), int.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture));
    }
}
