using System.Text;

namespace NodeAgent.Tests.Design;

/// <summary>The rooms of the product and the arrows between them, and their picture in ARCHITECTURE.md.</summary>
public class RoomTests
{
    private const string Begin = "<!-- rooms: drawn from the code by RoomTests; NODEAGENT_GOLDEN=write draws it again -->\n";

    private const string End = "<!-- end of rooms -->\n";

    [Fact]
    public void Every_room_stands_in_the_table() => Product.Arrows().Keys.ShouldBeSubsetOf(Product.Rooms);

    [Fact]
    public void Every_room_of_the_table_has_something_in_it() => Product.Rooms.Where(room => Product.Of(room).Count == 0).ShouldBeEmpty();

    [Fact]
    public void Arrows_between_rooms_run_down_the_table_only()
    {
        var order = Product.Rooms.ToList();
        var upward = from room in Product.Arrows()
                     from used in room.Value
                     where order.IndexOf(used) < order.IndexOf(room.Key)
                     from type in Product.Of(room.Key)
                     where Product.Named(type).Any(t => Product.RoomOf(t) == used)
                     select $"{room.Key} uses {used}, in {type.FullName}";

        upward.ShouldBeEmpty();
    }

    [Fact]
    public void A_file_lies_in_the_folder_of_its_room()
    {
        var source = Path.Join(Repository.Folder, "src", "NodeAgent");
        var misplaced = from file in Directory.GetFiles(source, "*.cs", SearchOption.AllDirectories)
                        let folder = Path.GetRelativePath(source, Path.GetDirectoryName(file)!)
                        where folder != "." && !folder.StartsWith("obj", StringComparison.Ordinal) && !folder.StartsWith("bin", StringComparison.Ordinal)
                        where !File.ReadAllText(file).Contains($"namespace NodeAgent.{folder.Replace('/', '.')};", StringComparison.Ordinal)
                        select Path.GetRelativePath(source, file);

        misplaced.ShouldBeEmpty();
    }

    [Fact]
    public void The_picture_in_ARCHITECTURE_is_what_the_code_is()
    {
        var path = Path.Join(Repository.Folder, "ARCHITECTURE.md");
        var page = File.ReadAllText(path);
        var begin = page.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var end = page.IndexOf(End, StringComparison.Ordinal);
        begin.ShouldBeGreaterThanOrEqualTo(Begin.Length, "ARCHITECTURE.md has lost the mark where the picture begins");
        end.ShouldBeGreaterThanOrEqualTo(begin, "ARCHITECTURE.md has lost the mark where the picture ends");
        var picture = Picture();
        if (Repository.IsRewriting)
        {
            File.WriteAllText(path, page[..begin] + picture + page[end..]);
            return;
        }

        page[begin..end].ShouldBe(picture, "rooms or arrows changed; NODEAGENT_GOLDEN=write draws the picture again");
    }

    private static string Picture()
    {
        var arrows = Product.Arrows();
        var text = new StringBuilder("```mermaid\nflowchart TD\n");
        foreach (var (room, used) in arrows)
        {
            // An arrow that others already make a path for is left out of the picture; the table below it has them all.
            foreach (var direct in used.Where(u => !used.Any(v => v != u && Reaches(arrows, v, u))))
            {
                text.Append("    ").Append(room).Append(" --> ").Append(direct).Append('\n');
            }
        }

        text.Append("```\n\n| room | uses |\n|---|---|\n");
        foreach (var (room, used) in arrows)
        {
            text.Append("| ").Append(room).Append(" | ").Append(used.Count == 0 ? "none of ours" : string.Join(", ", used)).Append(" |\n");
        }

        return text.ToString();
    }

    private static bool Reaches(IReadOnlyDictionary<string, IReadOnlyList<string>> arrows, string from, string to) =>
        arrows[from].Any(next => next == to || Reaches(arrows, next, to));
}
