using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>
/// Questions to the kernel and commands for it over netlink(7): no program has to be installed, and asking for names does not make anybody print the rules. A
/// socket belongs to the network namespace of the thread that opened it.
/// </summary>
internal sealed class Netlink : IDisposable
{
    public const int Route = 0;
    public const int Netfilter = 12;
    public const int Generic = 16;

    public const ushort Request = 1;
    public const ushort Acknowledge = 4;
    public const ushort Dump = 0x300;

    /// <summary>Of nfnetlink: all messages up to its counterpart, the next number, are one transaction.</summary>
    public const int BatchBegin = 0x10;

    private const ushort Error = 2;
    private const ushort Done = 3;
    private const ushort Interrupted = 0x10;

    // What a dump is cut into is up to the reader's buffer, from 8 to 32 KiB on.
    private const int BufferBytes = 64 * 1024;
    private const int Tries = 8;
    private const int ReceiveSeconds = 30;

    private readonly string _subject;
    private readonly int _descriptor;
    private readonly byte[] _buffer = new byte[BufferBytes];
    private uint _sequence;

    /// <param name="subject">What is asked about, for messages.</param>
    /// <exception cref="ProbeException">There is no such socket here.</exception>
    public Netlink(int protocol, string subject)
    {
        _subject = subject;
        _descriptor = Libc.Socket(Libc.NetlinkFamily, Libc.RawSocket | Libc.CloseOnExec, protocol);
        if (_descriptor < 0)
        {
            throw new ProbeException(subject, "the kernel gives no netlink socket: " + Libc.LastError());
        }

        // A kernel that does not answer is no reason to wait for ever.
        Span<long> limit = [ReceiveSeconds, 0];
        _ = Libc.SetSocketOption(_descriptor, Libc.SocketLevel, Libc.ReceiveTimeout, MemoryMarshal.AsBytes(limit), 16);
    }

    public delegate void Reader(ReadOnlySpan<byte> payload);

    /// <summary>Whether the kernel has such a protocol: one without netfilter has no nfnetlink. Any other reason is the constructor's to tell.</summary>
    public static bool IsThere(int protocol)
    {
        var descriptor = Libc.Socket(Libc.NetlinkFamily, Libc.RawSocket | Libc.CloseOnExec, protocol);
        if (descriptor < 0)
        {
            return Marshal.GetLastPInvokeError() != Libc.ProtocolNotSupported;
        }

        _ = Libc.Close(descriptor);
        return true;
    }

    public void Dispose() => _ = Libc.Close(_descriptor);

    public uint NextSequence() => ++_sequence;

    /// <summary>Everything of a kind; asked again where it changed meanwhile, after <paramref name="anew"/>.</summary>
    /// <returns>The error number that the kernel answered with; 0 for none.</returns>
    /// <exception cref="ProbeException">No answer, or it changes faster than it can be read.</exception>
    public int List(NetlinkMessage question, Action anew, Reader each)
    {
        for (var i = 0; i < Tries; i++)
        {
            anew();
            var sequence = NextSequence();
            Send(question.Finish(Request | Dump, sequence));
            if (ReadDump(sequence, each, out var error))
            {
                return error;
            }
        }

        throw new ProbeException(_subject, $"changed while it was read, {Tries} times in a row");
    }

    /// <summary>One object.</summary>
    /// <inheritdoc cref="List"/>
    public int Get(NetlinkMessage question, Reader each)
    {
        var sequence = NextSequence();
        Send(question.Finish(Request | Acknowledge, sequence));
        return ReadAnswers(sequence, sequence, each, []).Error;
    }

    /// <summary>Sends what is finished already, and reads until the answer to <paramref name="last"/>, which asked for one.</summary>
    /// <param name="passedOver">Error numbers that are none here.</param>
    /// <returns>The first error number of those from <paramref name="first"/> on, 0 for none, and whose it is.</returns>
    public (int Error, uint Of) Command(ReadOnlySpan<byte> messages, uint first, uint last, params int[] passedOver)
    {
        // CAP_NET_ADMIN may: a transaction is sent at once, several megabytes where there are many services.
        Span<int> size = [messages.Length + 4096];
        _ = Libc.SetSocketOption(_descriptor, Libc.SocketLevel, Libc.SendBufferForced, MemoryMarshal.AsBytes(size), sizeof(int));
        Send(messages);
        return ReadAnswers(first, last, _ => { }, passedOver);
    }

    private void Send(ReadOnlySpan<byte> messages)
    {
        nint sent;
        do
        {
            sent = Libc.Send(_descriptor, messages, messages.Length, 0);
        }
        while (sent < 0 && Marshal.GetLastPInvokeError() == Libc.Interrupted);

        if (sent != messages.Length)
        {
            throw new ProbeException(_subject, "the kernel does not take the question: " + Libc.LastError());
        }
    }

    /// <returns>Whether it is whole.</returns>
    private bool ReadDump(uint sequence, Reader each, out int error)
    {
        var isWhole = true;
        error = 0;
        while (true)
        {
            for (var rest = Receive(); rest.Length >= NetlinkMessage.HeaderBytes;)
            {
                var answer = NetlinkMessage.Take(ref rest);
                if (answer.Sequence != sequence)
                {
                    continue;
                }

                isWhole &= (answer.Flags & Interrupted) == 0;
                if (answer.Type is Done or Error)
                {
                    // An error number is all that it says, if there is one.
                    error = answer.Payload.Length >= 4 ? -BinaryPrimitives.ReadInt32LittleEndian(answer.Payload) : 0;
                    return isWhole;
                }

                each(answer.Payload);
            }
        }
    }

    private (int Error, uint Of) ReadAnswers(uint first, uint last, Reader each, int[] passedOver)
    {
        var error = (0, 0u);
        while (true)
        {
            for (var rest = Receive(); rest.Length >= NetlinkMessage.HeaderBytes;)
            {
                var answer = NetlinkMessage.Take(ref rest);
                if (answer.Sequence < first || answer.Sequence > last)
                {
                    continue;
                }

                if (answer.Type != Error)
                {
                    each(answer.Payload);
                    continue;
                }

                var number = -BinaryPrimitives.ReadInt32LittleEndian(answer.Payload);
                if (number != 0 && error == default && !passedOver.Contains(number))
                {
                    error = (number, answer.Sequence);
                }

                // A transaction that cannot even begin is answered by the message that begins it, and by nothing else.
                if (answer.Sequence == last || (number != 0 && IsBatchBegin(answer.Payload)))
                {
                    return error;
                }
            }
        }
    }

    // An answer carries the header of what it answers.
    private static bool IsBatchBegin(ReadOnlySpan<byte> error) => error.Length >= 10 && BinaryPrimitives.ReadUInt16LittleEndian(error[8..]) == BatchBegin;

    private ReadOnlySpan<byte> Receive()
    {
        while (true)
        {
            var read = Libc.Receive(_descriptor, _buffer, _buffer.Length, 0);
            if (read > 0)
            {
                return _buffer.AsSpan(0, (int)read);
            }

            if (read < 0 && Marshal.GetLastPInvokeError() == Libc.Interrupted)
            {
                continue;
            }

            throw new ProbeException(_subject, read == 0 ? "the kernel ended the conversation" : "the kernel does not answer: " + Libc.LastError());
        }
    }
}

/// <summary>
/// struct nlmsghdr, what belongs to its kind, and attributes (netlink(7)); all in the byte order of the machine, which is little-endian on all that we run on.
/// </summary>
internal sealed class NetlinkMessage
{
    public const int HeaderBytes = 16;

    private const int NestedFlag = 0x8000;
    private const int NetworkOrderFlag = 0x4000;

    private byte[] _bytes;
    private int _length;

    public NetlinkMessage(int type, ReadOnlySpan<byte> header)
    {
        _bytes = new byte[256];
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(4), (ushort)type);
        _length = HeaderBytes;
        Append(header);
    }

    /// <summary>A message of nfnetlink: struct nfgenmsg.</summary>
    public static NetlinkMessage OfNetfilter(int subsystem, int command, byte family, ushort resource = 0) =>
        new((subsystem << 8) | command, [family, 0, (byte)(resource >> 8), (byte)resource]);

    public NetlinkMessage Text(int attribute, string text) => Bytes(attribute, Encoding.UTF8.GetBytes(text + "\0"));

    public NetlinkMessage Bytes(int attribute, ReadOnlySpan<byte> value)
    {
        Span<byte> header = stackalloc byte[4];
        BinaryPrimitives.WriteUInt16LittleEndian(header, (ushort)(4 + value.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], (ushort)attribute);
        Append(header);
        Append(value);
        return this;
    }

    public NetlinkMessage Byte(int attribute, byte value) => Bytes(attribute, [value]);

    /// <summary>As the machine has it.</summary>
    public NetlinkMessage Short(int attribute, ushort value) => Bytes(attribute, [(byte)value, (byte)(value >> 8)]);

    public NetlinkMessage NetworkShort(int attribute, ushort value) => Bytes(attribute, [(byte)(value >> 8), (byte)value]);

    public NetlinkMessage NetworkInteger(int attribute, uint value, bool says = false)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return Bytes(says ? attribute | NetworkOrderFlag : attribute, bytes);
    }

    public NetlinkMessage Nested(int attribute, Action<NetlinkMessage> inner)
    {
        var start = _length;
        Append([0, 0, 0, 0]);
        inner(this);
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(start), (ushort)(_length - start));
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(start + 2), (ushort)(attribute | NestedFlag));
        return this;
    }

    public ReadOnlySpan<byte> Finish(int flags, uint sequence)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_bytes, (uint)_length);
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(6), (ushort)flags);
        BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(8), sequence);
        return _bytes.AsSpan(0, _length);
    }

    /// <summary>The next of several messages.</summary>
    public static NetlinkAnswer Take(ref ReadOnlySpan<byte> messages)
    {
        var length = Math.Clamp(BinaryPrimitives.ReadInt32LittleEndian(messages), HeaderBytes, messages.Length);
        var answer = new NetlinkAnswer(
            BinaryPrimitives.ReadUInt16LittleEndian(messages[4..]),
            BinaryPrimitives.ReadUInt16LittleEndian(messages[6..]),
            BinaryPrimitives.ReadUInt32LittleEndian(messages[8..]),
            messages[HeaderBytes..length]);
        messages = messages[Math.Min(Aligned(length), messages.Length)..];
        return answer;
    }

    private void Append(ReadOnlySpan<byte> bytes)
    {
        var end = _length + Aligned(bytes.Length);
        if (end > _bytes.Length)
        {
            Array.Resize(ref _bytes, Math.Max(end, 2 * _bytes.Length));
        }

        bytes.CopyTo(_bytes.AsSpan(_length));
        _length = end;
    }

    private static int Aligned(int length) => (length + 3) & ~3;
}

internal readonly ref struct NetlinkAnswer(ushort type, ushort flags, uint sequence, ReadOnlySpan<byte> payload)
{
    public ushort Type { get; } = type;

    public ushort Flags { get; } = flags;

    public uint Sequence { get; } = sequence;

    public ReadOnlySpan<byte> Payload { get; } = payload;
}

/// <summary>Attributes one after the other; what does not fit together ends them.</summary>
internal ref struct NetlinkAttributes(ReadOnlySpan<byte> bytes)
{
    private ReadOnlySpan<byte> _rest = bytes;

    public int Type { get; private set; }

    public ReadOnlySpan<byte> Value { get; private set; }

    public bool Next()
    {
        if (_rest.Length < 4)
        {
            return false;
        }

        var length = BinaryPrimitives.ReadUInt16LittleEndian(_rest);
        if (length < 4 || length > _rest.Length)
        {
            return false;
        }

        Type = BinaryPrimitives.ReadUInt16LittleEndian(_rest[2..]) & 0x3FFF;
        Value = _rest[4..length];
        _rest = _rest[Math.Min((length + 3) & ~3, _rest.Length)..];
        return true;
    }

    /// <summary>The value of the first of a type; empty where there is none.</summary>
    public static ReadOnlySpan<byte> Find(ReadOnlySpan<byte> bytes, int type)
    {
        var attributes = new NetlinkAttributes(bytes);
        while (attributes.Next())
        {
            if (attributes.Type == type)
            {
                return attributes.Value;
            }
        }

        return [];
    }
}
