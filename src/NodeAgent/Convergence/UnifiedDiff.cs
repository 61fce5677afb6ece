using System.Text;
using DiffPlex;
using DiffPlex.DiffBuilder;
using DiffPlex.DiffBuilder.Model;

namespace NodeAgent.Convergence;

/// <summary>Unified diffs as diff -u prints them, three lines of context, without the two header lines.</summary>
internal static class UnifiedDiff
{
    private const int Context = 3;

    public static string Of(string before, string after)
    {
        var lines = new InlineDiffBuilder(new Differ()).BuildDiffModel(WithoutLastNewline(before), WithoutLastNewline(after), ignoreWhitespace: false).Lines;
        var count = lines.Count;
        var output = new StringBuilder();
        var index = 0;
        var (oldLine, newLine) = (1, 1);
        while (index < count)
        {
            if (lines[index].Type == ChangeType.Unchanged)
            {
                index++;
                oldLine++;
                newLine++;
                continue;
            }

            var start = Math.Max(0, index - Context);
            var end = index;
            for (var probe = index; probe < count && probe <= end + (2 * Context); probe++)
            {
                if (lines[probe].Type != ChangeType.Unchanged)
                {
                    end = probe;
                }
            }

            var stop = Math.Min(count, end + Context + 1);
            Hunk(output, lines, start, stop, oldLine - (index - start), newLine - (index - start));
            for (; index < stop; index++)
            {
                oldLine += lines[index].Type is ChangeType.Inserted ? 0 : 1;
                newLine += lines[index].Type is ChangeType.Deleted ? 0 : 1;
            }
        }

        return output.Length == 0 && before != after ? "\\ Only the newline at the end of the file differs\n" : output.ToString();
    }

    // It ends the last line and does not begin another.
    private static string WithoutLastNewline(string text) => text.EndsWith('\n') ? text[..^1] : text;

    private static void Hunk(StringBuilder output, List<DiffPiece> lines, int start, int stop, int oldStart, int newStart)
    {
        var oldCount = 0;
        var newCount = 0;
        var body = new StringBuilder();
        for (var i = start; i < stop; i++)
        {
            var mark = lines[i].Type switch { ChangeType.Inserted => '+', ChangeType.Deleted => '-', _ => ' ' };
            oldCount += mark == '+' ? 0 : 1;
            newCount += mark == '-' ? 0 : 1;
            body.Append(mark).Append(lines[i].Text).Append('\n');
        }

        output.Append("@@ -").Append(oldCount == 0 ? oldStart - 1 : oldStart).Append(',').Append(oldCount)
            .Append(" +").Append(newCount == 0 ? newStart - 1 : newStart).Append(',').Append(newCount).Append(" @@\n").Append(body);
    }
}
