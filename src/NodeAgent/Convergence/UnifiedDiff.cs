using System.Text;
using DiffPlex;

namespace NodeAgent.Convergence;

/// <summary>Unified diffs as diff -u prints them, three lines of context, without the two header lines.</summary>
internal static class UnifiedDiff
{
    private const int Context = 3;

    public static string Of(string before, string after)
    {
        var lines = Lines(before, after);
        var output = new StringBuilder();
        var index = 0;
        var (oldLine, newLine) = (1, 1);
        while (index < lines.Count)
        {
            if (lines[index].Mark == ' ')
            {
                index++;
                oldLine++;
                newLine++;
                continue;
            }

            var start = Math.Max(0, index - Context);
            var end = index;
            for (var probe = index; probe < lines.Count && probe <= end + (2 * Context); probe++)
            {
                if (lines[probe].Mark != ' ')
                {
                    end = probe;
                }
            }

            var stop = Math.Min(lines.Count, end + Context + 1);
            Hunk(output, lines, start, stop, oldLine - (index - start), newLine - (index - start));
            for (; index < stop; index++)
            {
                oldLine += lines[index].Mark == '+' ? 0 : 1;
                newLine += lines[index].Mark == '-' ? 0 : 1;
            }
        }

        return output.Length == 0 && before != after ? "\\ Only the newline at the end of the file differs\n" : output.ToString();
    }

    /// <summary>All lines of both, each with ' ', '-' or '+'.</summary>
    private static List<(char Mark, string Text)> Lines(string before, string after)
    {
        var diff = new Differ().CreateCustomDiffs(before, after, ignoreWhiteSpace: false, Split);
        var lines = new List<(char, string)>();
        var at = 0;
        foreach (var block in diff.DiffBlocks)
        {
            lines.AddRange(diff.PiecesOld[at..block.DeleteStartA].Select(l => (' ', l)));
            at = block.DeleteStartA + block.DeleteCountA;
            lines.AddRange(diff.PiecesOld[block.DeleteStartA..at].Select(l => ('-', l)));
            lines.AddRange(diff.PiecesNew[block.InsertStartB..(block.InsertStartB + block.InsertCountB)].Select(l => ('+', l)));
        }

        lines.AddRange(diff.PiecesOld[at..].Select(l => (' ', l)));
        return lines;
    }

    // A line feed ends a line and does not begin another; a carriage return belongs to its line, so that a change of line ends is seen.
    private static string[] Split(string text) => text.Length == 0 ? [] : (text.EndsWith('\n') ? text[..^1] : text).Split('\n');

    private static void Hunk(StringBuilder output, List<(char Mark, string Text)> lines, int start, int stop, int oldStart, int newStart)
    {
        var oldCount = 0;
        var newCount = 0;
        var body = new StringBuilder();
        for (var i = start; i < stop; i++)
        {
            oldCount += lines[i].Mark == '+' ? 0 : 1;
            newCount += lines[i].Mark == '-' ? 0 : 1;
            body.Append(lines[i].Mark).Append(lines[i].Text).Append('\n');
        }

        output.Append("@@ -").Append(oldCount == 0 ? oldStart - 1 : oldStart).Append(',').Append(oldCount)
            .Append(" +").Append(newCount == 0 ? newStart - 1 : newStart).Append(',').Append(newCount).Append(" @@\n").Append(body);
    }
}
