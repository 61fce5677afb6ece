using System.Globalization;
using System.Text;
using NodeAgent.Machine;
using Serilog.Core;
using Serilog.Events;

namespace NodeAgent.Telemetry;

/// <summary>
/// Serilog to journald: every property of an event becomes a field that journalctl can select by, as in journalctl NODEAGENT_RESOURCE="restart
/// kubelet.service".
/// </summary>
internal sealed class JournalSink : ILogEventSink
{
    public void Emit(LogEvent logEvent)
    {
        var fields = new List<(string, string)>(logEvent.Properties.Count + 3)
        {
            ("MESSAGE", logEvent.RenderMessage(CultureInfo.InvariantCulture)),
            ("PRIORITY", Priority(logEvent.Level)),
            ("SYSLOG_IDENTIFIER", "nodeagent"),
        };
        foreach (var (name, value) in logEvent.Properties)
        {
            fields.Add(("NODEAGENT_" + FieldName(name), value is ScalarValue scalar ? Text(scalar.Value) : value.ToString(null, CultureInfo.InvariantCulture)));
        }

        if (logEvent.Exception is { } exception)
        {
            fields.Add(("NODEAGENT_EXCEPTION", exception.ToString()));
        }

        _ = Journal.Send(fields);
    }

    // syslog(3)
    private static string Priority(LogEventLevel level) => level switch
    {
        LogEventLevel.Fatal => "2",
        LogEventLevel.Error => "3",
        LogEventLevel.Warning => "4",
        LogEventLevel.Information => "6",
        _ => "7",
    };

    private static string Text(object? value) => value switch
    {
        null => "",
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };

    /// <summary>DurationMs to DURATION_MS: journald takes upper-case letters, digits and underscores.</summary>
    private static string FieldName(string name)
    {
        var text = new StringBuilder(name.Length + 4);
        for (var i = 0; i < name.Length; i++)
        {
            if (i > 0 && char.IsAsciiLetterUpper(name[i]) && char.IsAsciiLetterLower(name[i - 1]))
            {
                text.Append('_');
            }

            text.Append(char.IsAsciiLetterOrDigit(name[i]) ? char.ToUpperInvariant(name[i]) : '_');
        }

        return text.ToString();
    }
}
